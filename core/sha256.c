/* sha256.c -- SHA-256 through OpenSSL 3. Hashes bytes and files; knows nothing of pins and digests of
 * weights. */
#include "core/sha256.h"
#include <openssl/evp.h>
#include <string.h>

enum { PIECE = 4 << 20 }; /* bytes a read */

struct Sha256 {
    EVP_MD_CTX *context;
    bool failed;
};

int sha256_open(Sha256 **out, Error *err) {
    *out = NULL;
    Sha256 *h = mem_alloc(NULL, sizeof *h);
    if (!h) return error_memory(err, "a SHA-256 context");
    *h = (Sha256){.context = EVP_MD_CTX_new()};
    /* Fetched once here: every later hash in this object reuses it, which matters for thousands of small
     * tensors. */
    EVP_MD *method = EVP_MD_fetch(NULL, "SHA256", NULL);
    bool ok = h->context && method && EVP_DigestInit_ex2(h->context, method, NULL) == 1;
    EVP_MD_free(method); /* the context holds its own reference */
    if (!ok) {
        sha256_close(h);
        return error_set(err, ERR_MEMORY,
                         "OpenSSL can't start SHA-256: memory is short, or its default provider is "
                         "switched off in openssl.cnf");
    }
    *out = h;
    return 0;
}

void sha256_close(Sha256 *h) {
    if (!h) return;
    EVP_MD_CTX_free(h->context);
    mem_free(NULL, h);
}

void sha256_update(Sha256 *h, const void *bytes, size_t length) {
    if (length && EVP_DigestUpdate(h->context, bytes, length) != 1) h->failed = true;
}

void sha256_finish(Sha256 *h, char hex[SHA256_HEX]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[SHA256_BYTES];
    bool ok = !h->failed && EVP_DigestFinal_ex(h->context, digest, NULL) == 1;
    h->failed = EVP_DigestInit_ex2(h->context, NULL, NULL) != 1;
    hex[0] = '\0'; /* a hash that failed equals no other */
    if (!ok) return;
    for (int i = 0; i < SHA256_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[SHA256_HEX - 1] = '\0';
}

static int finish_checked(Sha256 *h, char hex[SHA256_HEX], Error *err) {
    sha256_finish(h, hex);
    return hex[0] ? 0 : error_set(err, ERR_MEMORY, "OpenSSL failed to compute a SHA-256");
}

int sha256_bytes(char hex[SHA256_HEX], const void *bytes, size_t length, Error *err) {
    hex[0] = '\0';
    Sha256 *h;
    TRY(sha256_open(&h, err));
    sha256_update(h, bytes, length);
    int code = finish_checked(h, hex, err);
    sha256_close(h);
    return code;
}

static int hash_pieces(Sha256 *h, const Input *in, unsigned char *piece,
                       int (*done)(void *context, uint64_t bytes), void *context, Error *err) {
    uint64_t size = input_size(in);
    for (uint64_t offset = 0; offset < size;) {
        size_t n = size - offset < PIECE ? (size_t)(size - offset) : PIECE;
        TRY(input_read(in, offset, piece, n, err));
        sha256_update(h, piece, n);
        offset += n;
        if (done && done(context, offset)) {
            return error_set(err, ERR_INTERRUPTED, "interrupted while hashing %s", input_path(in));
        }
    }
    return 0;
}

int sha256_input(char hex[SHA256_HEX], const Input *in, int (*done)(void *context, uint64_t bytes),
                 void *context, Error *err) {
    hex[0] = '\0';
    Sha256 *h;
    TRY(sha256_open(&h, err));
    unsigned char *piece = mem_alloc(NULL, PIECE);
    int code = piece ? hash_pieces(h, in, piece, done, context, err) : error_memory(err, "hashing a file");
    if (!code) code = finish_checked(h, hex, err);
    mem_free(NULL, piece);
    sha256_close(h);
    return code;
}

bool sha256_is_hex(const char *s) {
    return s && strspn(s, "0123456789abcdef") == SHA256_HEX - 1 && s[SHA256_HEX - 1] == '\0';
}
