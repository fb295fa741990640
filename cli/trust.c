/* trust.c -- see trust.h. */
#include "cli/trust.h"

int trust_open(Trust *t, Error *err) {
    if (t->key_path) TRY(public_key_open(&t->key, t->key_path, err));
    return t->roots_path ? cert_store_open(&t->roots, t->roots_path, err) : 0;
}

void trust_close(Trust *t) {
    public_key_close(t->key);
    cert_store_close(t->roots);
}
