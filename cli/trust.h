/* trust.h -- the options by which a command is told whose signature to expect. */
#ifndef RECAST_CLI_TRUST_H
#define RECAST_CLI_TRUST_H

#include "cli/options.h"
#include "packager/key.h"

typedef struct Trust {
    const char *key_path, *roots_path; /* targets of --key and --trust; NULL: not given */
    OptionList ignored;                /* of --ignore */
    PublicKey *key;
    CertStore *roots;
} Trust;

/* Opens what the options name. */
int trust_open(Trust *t, Error *err) MUST_CHECK;
void trust_close(Trust *t);

/* For a table of options. */
#define TRUST_OPTIONS(t)                                                                                 \
    {"--key", 0, OPTION_STRING, "PUB.pem", "the public key whose signature is wanted", &(t).key_path},   \
        {"--trust",      0, OPTION_STRING, "CA.pem", "roots that the signer's certificate must lead to", \
         &(t).roots_path},                                                                               \
    {                                                                                                    \
        "--ignore", 0, OPTION_LIST, "PATH", "a path that the signature needn't cover", &(t).ignored      \
    }

#endif
