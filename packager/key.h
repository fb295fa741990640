/* key.h -- keys and certificates for signatures: EC on P-256, P-384 or P-521, in PEM, through OpenSSL.
 *
 * The hash of a signature goes with the curve (FIPS 186-5, as OpenSSF Model Signing has it): SHA-256,
 * SHA-384, SHA-512. No function puts a private key, or where it came from, into a message beyond the name
 * that the user gave. */
#ifndef RECAST_PACKAGER_KEY_H
#define RECAST_PACKAGER_KEY_H

#include "core/sha256.h"

typedef struct SignKey SignKey;     /* with its private part */
typedef struct PublicKey PublicKey; /* one that a signature is checked with */
typedef struct CertStore CertStore; /* roots that are trusted */
typedef struct CertChain CertChain; /* the signer's certificate, then those between it and a root */

/* "FILE", or "env:VARIABLE": the PEM text itself is in the variable. PKCS#8 or SEC1. The password of an
 * encrypted one is taken from RECAST_KEY_PASSWORD; nothing is asked for. Errors: ERR_IO, ERR_FORMAT (no key),
 * ERR_UNSUPPORTED (another curve or kind). Caller closes. */
int sign_key_open(SignKey **out, const char *where, Error *err) MUST_CHECK;
void sign_key_close(SignKey *k); /* NULL-safe */
/* ASN.1 DER of an ECDSA signature over the bytes; appended to `out`. */
int sign_key_sign(const SignKey *k, const void *bytes, size_t length, Buffer *out, Error *err) MUST_CHECK;
/* SHA-256 of the public part's PEM text, in hex: how a key is named everywhere. */
const char *sign_key_id(const SignKey *k);

/* A PEM file with one public key (or, as a convenience, a certificate or a private key of the pair). */
int public_key_open(PublicKey **out, const char *path, Error *err) MUST_CHECK;
/* Of the first certificate of a chain. Caller closes. */
int public_key_of_chain(PublicKey **out, const CertChain *c, Error *err) MUST_CHECK;
void public_key_close(PublicKey *k); /* NULL-safe */
const char *public_key_id(const PublicKey *k);
/* ERR_CHECK if the signature (DER) is not this key's over the bytes. */
int public_key_verify(const PublicKey *k, const void *bytes, size_t length, const void *signature,
                      size_t signature_length, Error *err) MUST_CHECK;

/* A PEM file of certificates: the signer's first. ERR_CHECK if it isn't that of the key. */
int cert_chain_open(CertChain **out, const char *path, const SignKey *key, Error *err) MUST_CHECK;
/* From a signature: n DER certificates, each of the given length. */
int cert_chain_from_der(CertChain **out, size_t n, const void *const *der, const size_t *lengths,
                        Error *err) MUST_CHECK;
void cert_chain_close(CertChain *c); /* NULL-safe */
size_t cert_chain_count(const CertChain *c);
/* Appends the DER bytes of certificate i. */
int cert_chain_der(const CertChain *c, size_t i, Buffer *out, Error *err) MUST_CHECK;
/* "CN=leaf,O=me" of the first certificate, RFC 2253 with escapes. In the arena; NULL: no memory. */
const char *cert_chain_subject(const CertChain *c, Arena *arena);

/* A PEM file with one or more roots. */
int cert_store_open(CertStore **out, const char *path, Error *err) MUST_CHECK;
void cert_store_close(CertStore *s); /* NULL-safe */
/* Does the chain lead to a root, as of the day that its first certificate became valid (there is no trusted
 * time in a signature), and may its first certificate sign? No revocation is looked up. ERR_CHECK if not. */
int cert_chain_verify(const CertChain *c, const CertStore *roots, Error *err) MUST_CHECK;

#endif
