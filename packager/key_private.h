/* key_private.h -- what key.c and certificate.c share. Not for other files. */
#ifndef RECAST_PACKAGER_KEY_PRIVATE_H
#define RECAST_PACKAGER_KEY_PRIVATE_H

#include "packager/key.h"
#include <openssl/evp.h>
#include <openssl/x509.h>

typedef struct KeyPair {
    EVP_PKEY *pkey;
    const EVP_MD *hash; /* that goes with its curve */
    char id[SHA256_HEX];
} KeyPair;

struct SignKey {
    KeyPair pair;
};
struct PublicKey {
    KeyPair pair;
};

/* Text that may be secret: wiped when it is closed. */
typedef struct PemText {
    char *text;
    size_t length;
} PemText;
int pem_text_open(PemText *out, const char *where, Error *err) MUST_CHECK;
void pem_text_close(PemText *t);
BIO *pem_text_bio(const PemText *t); /* NULL: no memory; caller frees */

/* "WHERE: WHAT: OpenSSL's reason". */
int key_error(Error *err, ErrorCode code, const char *what, const char *where);
/* Checks the curve; fills in hash and id. */
int key_pair_settle(KeyPair *k, const char *where, Error *err) MUST_CHECK;
/* Takes pkey over, also on failure. */
int public_key_take(PublicKey **out, EVP_PKEY *pkey, const char *where, Error *err) MUST_CHECK;

#endif
