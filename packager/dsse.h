/* dsse.h -- DSSE envelopes (github.com/secure-systems-lab/dsse, v1) around in-toto statements: what a model
 * signature and a signed provenance statement have in common. */
#ifndef RECAST_PACKAGER_DSSE_H
#define RECAST_PACKAGER_DSSE_H

#include "packager/key.h"
#include <cjson/cJSON.h>

#define DSSE_PAYLOAD_TYPE "application/vnd.in-toto+json"

typedef struct Envelope {
    Buffer payload;   /* the statement's bytes */
    Buffer signature; /* DER */
} Envelope;

/* Signs payload_length bytes (over "DSSEv1 28 application/vnd.in-toto+json LENGTH PAYLOAD") and gives the
 * envelope as a JSON tree. Caller deletes. */
int dsse_sign(cJSON **out, const void *payload, size_t payload_length, const SignKey *key,
              Error *err) MUST_CHECK;
/* Strict: these members and no others, one signature, standard base64. name: for messages. */
int dsse_read(Envelope *out, const cJSON *json, const char *name, Error *err) MUST_CHECK;
void envelope_free(Envelope *e);
int dsse_verify(const Envelope *e, const PublicKey *key, Error *err) MUST_CHECK;

/* RFC 4648 section 4, with padding, on one line. */
void base64_write(Buffer *out, const void *bytes, size_t length);
/* Appends what it says; false for anything but the one canonical spelling. */
bool base64_read(Buffer *out, const char *text);

/* Is `object` an object whose members are all among `keys` (NULL-terminated)? */
bool json_only_has(const cJSON *object, const char *const *keys);

#endif
