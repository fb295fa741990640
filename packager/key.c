/* key.c -- private and public keys. See key.h. */
#include "packager/key_private.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LIMIT = 1 << 20 };

/* ---- PEM text ---- */

/* OpenSSL's own reason; its queue is emptied. */
int key_error(Error *err, ErrorCode code, const char *what, const char *where) {
    unsigned long reason = ERR_peek_last_error();
    const char *text = reason ? ERR_reason_error_string(reason) : NULL;
    ERR_clear_error();
    return error_set(err, code, "%s: %s%s%s", where, what, text ? ": " : "", text ? text : "");
}

static int pem_from_variable(PemText *out, const char *name, Error *err) {
    const char *text = getenv(name);
    if (!text || !*text)
        return error_set(err, ERR_IO, "env:%s: there is no such variable in the environment", name);
    out->length = strlen(text);
    if (out->length > KEY_LIMIT) return error_set(err, ERR_LIMIT, "env:%s is larger than 1 MiB", name);
    out->text = mem_alloc(NULL, out->length + 1);
    if (!out->text) return error_memory(err, "a key");
    memcpy(out->text, text, out->length + 1);
    return 0;
}

int pem_text_open(PemText *out, const char *where, Error *err) {
    Input *in;
    *out = (PemText){0};
    if (!strncmp(where, "env:", 4)) return pem_from_variable(out, where + 4, err);
    TRY(input_open(&in, where, NULL, err));
    uint64_t size = input_size(in);
    int code = size > KEY_LIMIT ? error_set(err, ERR_LIMIT, "%s is larger than 1 MiB", where) : 0;
    if (!code) {
        out->length = (size_t)size;
        out->text = mem_alloc(NULL, out->length + 1);
        code = out->text ? input_read(in, 0, out->text, out->length, err) : error_memory(err, "a key");
    }
    input_close(in);
    if (code) pem_text_close(out);
    return code;
}

void pem_text_close(PemText *t) {
    if (t->text) OPENSSL_cleanse(t->text, t->length);
    mem_free(NULL, t->text);
    *t = (PemText){0};
}

BIO *pem_text_bio(const PemText *t) {
    return BIO_new_mem_buf(t->text, (int)t->length);
}

/* ---- what both kinds of key are ---- */

static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};

static const EVP_MD *hash_of(size_t curve) {
    return curve == 0 ? EVP_sha256() : curve == 1 ? EVP_sha384() : EVP_sha512();
}

static int find_curve(KeyPair *k, const char *where, Error *err) {
    char name[64] = "";
    size_t length;
    if (EVP_PKEY_get_base_id(k->pkey) == EVP_PKEY_EC &&
        EVP_PKEY_get_utf8_string_param(k->pkey, "group", name, sizeof name, &length))
        for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
            if (!strcmp(name, curves[i])) {
                k->hash = hash_of(i);
                return 0;
            }
    return key_error(err, ERR_UNSUPPORTED,
                     "the key is not on one of the curves P-256, P-384 and P-521, which signatures of models "
                     "are made with",
                     where);
}

/* The name that OpenSSF's bundles give as a hint: SHA-256 of what `openssl pkey -pubout` prints. */
static int name_key(KeyPair *k, const char *where, Error *err) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    int code = bio && PEM_write_bio_PUBKEY(bio, k->pkey)
                   ? 0
                   : key_error(err, ERR_FORMAT, "has no public part", where);
    if (!code) {
        long length = BIO_get_mem_data(bio, &text);
        code = sha256_bytes(k->id, text, (size_t)length, err);
    }
    BIO_free(bio);
    return code;
}

int key_pair_settle(KeyPair *k, const char *where, Error *err) {
    TRY(find_curve(k, where, err));
    return name_key(k, where, err);
}

/* ---- private ---- */

/* OpenSSL's own callback would ask on the terminal. */
static int password(char *buffer, int size, int writing, void *context) {
    (void)writing;
    bool *wanted = context;
    const char *text = getenv("RECAST_KEY_PASSWORD");
    size_t length = text ? strlen(text) : 0;
    *wanted = !text;
    if (!text || length > (size_t)size) return -1;
    memcpy(buffer, text, length);
    return (int)length;
}

int sign_key_open(SignKey **out, const char *where, Error *err) {
    PemText pem;
    bool wanted = false;
    *out = NULL;
    TRY(pem_text_open(&pem, where, err));
    SignKey *k = mem_alloc(NULL, sizeof *k);
    BIO *bio = pem_text_bio(&pem);
    int code = k && bio ? 0 : error_memory(err, "a key");
    if (k) *k = (SignKey){0};
    if (!code) {
        k->pair.pkey = PEM_read_bio_PrivateKey(bio, NULL, password, &wanted);
        if (wanted)
            code =
                key_error(err, ERR_FORMAT, "is encrypted; put its password into RECAST_KEY_PASSWORD", where);
        else if (!k->pair.pkey)
            code = key_error(err, ERR_FORMAT, "holds no private key in PEM that can be read", where);
    }
    BIO_free(bio);
    pem_text_close(&pem);
    if (!code) code = key_pair_settle(&k->pair, where, err);
    if (code)
        sign_key_close(k);
    else
        *out = k;
    return code;
}

void sign_key_close(SignKey *k) {
    if (!k) return;
    EVP_PKEY_free(k->pair.pkey);
    mem_free(NULL, k);
}

const char *sign_key_id(const SignKey *k) {
    return k->pair.id;
}

int sign_key_sign(const SignKey *k, const void *bytes, size_t length, Buffer *out, Error *err) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t size = 0;
    uint8_t signature[256]; /* DER of P-521 takes 139 */
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, k->pair.hash, NULL, k->pair.pkey) == 1 &&
              EVP_DigestSign(ctx, NULL, &size, bytes, length) == 1 && size <= sizeof signature &&
              EVP_DigestSign(ctx, signature, &size, bytes, length) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) return key_error(err, ERR_FORMAT, "can't sign with it", "the key");
    buffer_append(out, signature, size);
    return buffer_ok(out, "a signature", err);
}

/* ---- public ---- */

/* A public key, else the public part of a certificate, else of a private key. */
static EVP_PKEY *read_public(const PemText *pem) {
    bool wanted = false;
    BIO *bio = pem_text_bio(pem);
    if (!bio) return NULL;
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (!key && BIO_reset(bio) == 1) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        key = certificate ? X509_get_pubkey(certificate) : NULL;
        X509_free(certificate);
    }
    if (!key && BIO_reset(bio) == 1) key = PEM_read_bio_PrivateKey(bio, NULL, password, &wanted);
    BIO_free(bio);
    return key;
}

int public_key_take(PublicKey **out, EVP_PKEY *pkey, const char *where, Error *err) {
    *out = NULL;
    PublicKey *k = mem_alloc(NULL, sizeof *k);
    if (!k) {
        EVP_PKEY_free(pkey);
        return error_memory(err, "a key");
    }
    *k = (PublicKey){.pair.pkey = pkey};
    int code = key_pair_settle(&k->pair, where, err);
    if (code)
        public_key_close(k);
    else
        *out = k;
    return code;
}

int public_key_open(PublicKey **out, const char *path, Error *err) {
    PemText pem;
    *out = NULL;
    TRY(pem_text_open(&pem, path, err));
    EVP_PKEY *key = read_public(&pem);
    pem_text_close(&pem);
    if (!key) return key_error(err, ERR_FORMAT, "holds no public key in PEM", path);
    ERR_clear_error();
    return public_key_take(out, key, path, err);
}

void public_key_close(PublicKey *k) {
    if (!k) return;
    EVP_PKEY_free(k->pair.pkey);
    mem_free(NULL, k);
}

const char *public_key_id(const PublicKey *k) {
    return k->pair.id;
}

int public_key_verify(const PublicKey *k, const void *bytes, size_t length, const void *signature,
                      size_t signature_length, Error *err) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx) return error_memory(err, "a signature");
    int good = EVP_DigestVerifyInit(ctx, NULL, k->pair.hash, NULL, k->pair.pkey) == 1
                   ? EVP_DigestVerify(ctx, signature, signature_length, bytes, length)
                   : 0;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (good == 1) return 0;
    return error_set(err, ERR_CHECK, "the signature is not that of key %s over this statement", k->pair.id);
}
