/* certificate.c -- certificate chains and the roots they are checked to. See key.h. */
#include "packager/key_private.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

enum { MOST_CERTIFICATES = 100, SECURITY_LEVEL = 2 /* of OpenSSL: 112 bits */ };

struct CertChain {
    STACK_OF(X509) * certificates; /* the signer's first */
};

struct CertStore {
    X509_STORE *store;
};

static int no_memory(Error *err) {
    return error_memory(err, "certificates");
}

/* ---- chains ---- */

static int chain_create(CertChain **out, Error *err) {
    CertChain *c = mem_alloc(NULL, sizeof *c);
    if (!c) return no_memory(err);
    c->certificates = sk_X509_new_null();
    if (!c->certificates) {
        mem_free(NULL, c);
        return no_memory(err);
    }
    *out = c;
    return 0;
}

void cert_chain_close(CertChain *c) {
    if (!c) return;
    sk_X509_pop_free(c->certificates, X509_free);
    mem_free(NULL, c);
}

size_t cert_chain_count(const CertChain *c) {
    return (size_t)sk_X509_num(c->certificates);
}

/* Takes the certificate over. */
static int chain_add(CertChain *c, X509 *certificate, const char *where, Error *err) {
    int code = 0;
    if (cert_chain_count(c) == MOST_CERTIFICATES)
        code = error_set(err, ERR_LIMIT, "%s: more than %d certificates", where, MOST_CERTIFICATES);
    else if (!sk_X509_push(c->certificates, certificate))
        code = no_memory(err);
    if (code) X509_free(certificate);
    return code;
}

static int read_pem(CertChain *c, const char *path, Error *err) {
    PemText pem;
    TRY(pem_text_open(&pem, path, err));
    BIO *bio = pem_text_bio(&pem);
    int code = bio ? 0 : no_memory(err);
    for (X509 *x; !code && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL));) code = chain_add(c, x, path, err);
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    pem_text_close(&pem);
    if (!code && (!end || !cert_chain_count(c)))
        code = key_error(err, ERR_FORMAT, end ? "holds no certificate in PEM" : "a certificate can't be read",
                         path);
    ERR_clear_error();
    return code;
}

static int same_key(const CertChain *c, const SignKey *key, const char *path, Error *err) {
    EVP_PKEY *of_certificate = X509_get0_pubkey(sk_X509_value(c->certificates, 0));
    if (of_certificate && EVP_PKEY_eq(of_certificate, key->pair.pkey) == 1) return 0;
    ERR_clear_error();
    return error_set(err, ERR_CHECK,
                     "%s: its first certificate is not that of the key; the signer's stands first", path);
}

int cert_chain_open(CertChain **out, const char *path, const SignKey *key, Error *err) {
    CertChain *c;
    *out = NULL;
    TRY(chain_create(&c, err));
    int code = read_pem(c, path, err);
    if (!code && key) code = same_key(c, key, path, err);
    if (code)
        cert_chain_close(c);
    else
        *out = c;
    return code;
}

int cert_chain_from_der(CertChain **out, size_t n, const void *const *der, const size_t *lengths,
                        Error *err) {
    CertChain *c;
    *out = NULL;
    TRY(chain_create(&c, err));
    int code = n ? 0 : error_set(err, ERR_FORMAT, "the signature holds no certificate");
    for (size_t i = 0; i < n && !code; i++) {
        const unsigned char *at = der[i], *end = at + lengths[i];
        X509 *x = d2i_X509(NULL, &at, (long)lengths[i]);
        if (!x || at != end) {
            X509_free(x);
            code = key_error(err, ERR_FORMAT, "a certificate of it can't be read", "the signature");
        } else
            code = chain_add(c, x, "the signature", err);
    }
    if (code)
        cert_chain_close(c);
    else
        *out = c;
    return code;
}

int cert_chain_der(const CertChain *c, size_t i, Buffer *out, Error *err) {
    unsigned char *der = NULL;
    int length = i2d_X509(sk_X509_value(c->certificates, (int)i), &der);
    if (length <= 0) return no_memory(err);
    buffer_append(out, der, (size_t)length);
    OPENSSL_free(der);
    return buffer_ok(out, "a certificate", err);
}

const char *cert_chain_subject(const CertChain *c, Arena *arena) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL, *copy = NULL;
    X509_NAME *name = X509_get_subject_name(sk_X509_value(c->certificates, 0));
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        long length = BIO_get_mem_data(bio, &text);
        copy = arena_copy(arena, text, (size_t)length);
    }
    BIO_free(bio);
    return copy;
}

int public_key_of_chain(PublicKey **out, const CertChain *c, Error *err) {
    EVP_PKEY *key = X509_get_pubkey(sk_X509_value(c->certificates, 0));
    *out = NULL;
    if (!key) return key_error(err, ERR_FORMAT, "has no key that can be read", "the signer's certificate");
    return public_key_take(out, key, "the signer's certificate", err);
}

/* ---- roots ---- */

int cert_store_open(CertStore **out, const char *path, Error *err) {
    CertChain *roots;
    *out = NULL;
    TRY(cert_chain_open(&roots, path, NULL, err));
    CertStore *s = mem_alloc(NULL, sizeof *s);
    if (s) s->store = X509_STORE_new();
    bool ok = s && s->store;
    for (size_t i = 0; ok && i < cert_chain_count(roots); i++)
        ok = X509_STORE_add_cert(s->store, sk_X509_value(roots->certificates, (int)i)) == 1;
    cert_chain_close(roots);
    if (!ok) {
        cert_store_close(s);
        return no_memory(err);
    }
    *out = s;
    return 0;
}

void cert_store_close(CertStore *s) {
    if (!s) return;
    X509_STORE_free(s->store);
    mem_free(NULL, s);
}

static time_t begin_of(X509 *x) {
    struct tm tm = {0};
    return ASN1_TIME_to_tm(X509_get0_notBefore(x), &tm) == 1 ? timegm(&tm) : 0;
}

/* digitalSignature among the key's usages; if they aren't named, code signing among the extended ones. */
static bool may_sign(X509 *x) {
    uint32_t flags = X509_get_extension_flags(x);
    if (flags & EXFLAG_KUSAGE) return X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE;
    return (flags & EXFLAG_XKUSAGE) && (X509_get_extended_key_usage(x) & XKU_CODE_SIGN);
}

int cert_chain_verify(const CertChain *c, const CertStore *roots, Error *err) {
    X509 *leaf = sk_X509_value(c->certificates, 0);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || X509_STORE_CTX_init(ctx, roots->store, leaf, c->certificates) != 1) {
        X509_STORE_CTX_free(ctx);
        return no_memory(err);
    }
    X509_STORE_CTX_set_time(ctx, 0, begin_of(leaf));
    /* By itself OpenSSL takes a chain over RSA of 512 bits, or signed over SHA-1: anybody could make those.
     */
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), SECURITY_LEVEL);
    bool good = X509_verify_cert(ctx) == 1;
    const char *reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
    int code = good ? 0
                    : error_set(err, ERR_CHECK,
                                "the signer's certificate does not lead to a trusted root: %s", reason);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    if (!code && !may_sign(leaf))
        code = error_set(err, ERR_CHECK,
                         "the signer's certificate is for neither digital signatures nor code signing");
    return code;
}
