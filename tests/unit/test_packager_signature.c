/* test_packager_signature.c -- model signatures: those of the reference (tests/golden/signed), and our own.
 */
#include "core/json.h"
#include "packager/sign.h"
#include "packager/signature.h"
#include "support.h"

#define SIGNED "tests/golden/signed/"

/* ---- help ---- */

static char *slurp(const char *path, size_t *length, Arena *arena) {
    char *text;
    Error err;
    cr_assert_eq(input_read_file(&text, length, path, 1 << 20, arena, &err), 0, "%s", err.message);
    return text;
}

static void copy_model(TempDir *t) {
    char command[2 * PATH_MAX];
    snprintf(command, sizeof command, "cp -R " SIGNED "model %s/model && chmod -R u+w %s/model", t->path,
             t->path);
    cr_assert_eq(system(command), 0);
}

static void keep(void *context, const char *path, const char *problem) {
    char *text = context;
    snprintf(text + strlen(text), 400 - strlen(text), "%s: %.60s; ", path, problem);
}

/* Opens, verifies with the key (or the root), compares with a directory. found: what compare says. */
static int check_signed(const char *path, const char *key_path, const char *roots_path, const char *directory,
                        char found[400], Error *err) {
    Arena *arena;
    size_t length;
    ModelSignature *s = NULL;
    PublicKey *key = NULL;
    CertStore *roots = NULL;
    FileTree tree;
    cr_assert_eq(arena_open(&arena, NULL, err), 0);
    char *text = slurp(path, &length, arena);
    found[0] = 0;
    int code = signature_read(&s, text, length, 0, NULL, err);
    if (!code && key_path) {
        cr_assert_eq(public_key_open(&key, key_path, err), 0, "%s", err->message);
        code = signature_verify_key(s, key, err);
    }
    if (!code && roots_path) {
        cr_assert_eq(cert_store_open(&roots, roots_path, err), 0, "%s", err->message);
        code = signature_verify_chain(s, roots, err);
    }
    if (!code && directory) {
        SignatureCompare compare = {.say = keep, .say_context = found};
        cr_assert_eq(tree_list(&tree, directory, arena, err), 0, "%s", err->message);
        cr_assert_eq(tree_hash(&tree, directory, NULL, NULL, (HashOptions){2, NULL}, arena, err), 0);
        signature_compare(s, &tree, &compare);
        cr_assert_eq(compare.n_problems == 0, found[0] == 0);
    }
    public_key_close(key);
    cert_store_close(roots);
    signature_close(s);
    arena_close(arena);
    return code;
}

/* ---- the reference's ---- */

Test(packager_signature, accepts_the_reference) {
    static const char *const curves[] = {"p256", "p384", "p521"};
    char path[200], key[200], found[400];
    Error err;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, SIGNED "accept-%s.sig", curves[i]);
        snprintf(key, sizeof key, SIGNED "%s.pub.pem", curves[i]);
        cr_assert_eq(check_signed(path, key, NULL, SIGNED "model", found, &err), 0, "%s", err.message);
        cr_assert_str_eq(found, "");
    }
    int code =
        check_signed(SIGNED "accept-certificate.sig", NULL, SIGNED "ca.pem", SIGNED "model", found, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    cr_assert_str_eq(found, "");
}

Test(packager_signature, refuses_another_signer) {
    char found[400];
    Error err;
    int code = check_signed(SIGNED "accept-p256.sig", SIGNED "p384.pub.pem", NULL, NULL, found, &err);
    cr_assert_eq(code, ERR_CHECK);
    cr_assert(strstr(err.message, "made with key"), "%s", err.message);
    code = check_signed(SIGNED "accept-certificate.sig", NULL, SIGNED "other-ca.pem", NULL, found, &err);
    cr_assert_eq(code, ERR_CHECK);
    cr_assert(strstr(err.message, "trusted root"), "%s", err.message);
    code = check_signed(SIGNED "accept-certificate.sig", SIGNED "p256.pub.pem", NULL, NULL, found, &err);
    cr_assert_eq(code, ERR_CHECK);
    cr_assert(strstr(err.message, "--trust"), "%s", err.message);
    code = check_signed(SIGNED "accept-p256.sig", NULL, SIGNED "ca.pem", NULL, found, &err);
    cr_assert_eq(code, ERR_CHECK);
}

/* Each was rightly signed; what is wrong is what it says. Some of them the reference accepts. */
Test(packager_signature, refuses_each_trick) {
    char line[200], path[200], found[400];
    size_t n = 0, weaker = 0;
    FILE *table = fopen(SIGNED "refuse.txt", "r");
    cr_assert_not_null(table);
    while (fgets(line, sizeof line, table)) {
        Error err = {0};
        char *name = strtok(line, "\t"), *reference = strtok(NULL, "\t"), *message = strtok(NULL, "\n");
        snprintf(path, sizeof path, SIGNED "%s", name);
        int code = check_signed(path, SIGNED "p256.pub.pem", NULL, SIGNED "model", found, &err);
        cr_assert_neq(code, 0, "%s was accepted", name);
        cr_assert(strstr(err.message, message), "%s: %s", name, err.message);
        weaker += !strcmp(reference, "accepts");
        n++;
    }
    fclose(table);
    cr_assert_eq(n, 17);
    cr_assert_eq(weaker, 5);
}

/* ---- what lies in the directory ---- */

typedef struct DirectoryChange {
    const char *command; /* in the model's directory */
    const char *found;
} DirectoryChange;

Test(packager_signature, refuses_a_changed_directory) {
    static const DirectoryChange changes[] = {
        {"printf H | dd of=model.gguf conv=notrunc status=none", "model.gguf: SHA-256 is"},
        {"touch added.txt", "added.txt: was not signed"},
        {"rm sub.txt", "sub.txt: was signed and is missing"},
        {"mv sub.txt subs.txt", "sub.txt: was signed and is missing; subs.txt: was not signed"},
        {"mv sub.txt sub/sub.txt", "sub/sub.txt: was not signed"},
        {"mv empty.bin e && ln -s e empty.bin", "empty.bin: is a symbolic link"},
        {"ln -s /etc/passwd link", "link: was not signed"},
        {"mkdir -p .cache && touch .cache/x",
         ".cache: is there"}, /* the reference's has no .cache in its list */
        {"mkdir sub/.git && touch sub/.git/x", "sub/.git/x: was not signed"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        TempDir t;
        char command[2 * PATH_MAX], found[400];
        Error err;
        temp_dir_open(&t);
        copy_model(&t);
        snprintf(command, sizeof command, "cd %s/model && %s", t.path, changes[i].command);
        cr_assert_eq(system(command), 0);
        int code = check_signed(SIGNED "accept-p256.sig", SIGNED "p256.pub.pem", NULL, temp_path(&t, "model"),
                                found, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        cr_assert(strstr(found, changes[i].found), "%s: %s", changes[i].command, found);
        temp_dir_close(&t);
    }
}

Test(packager_signature, leaves_out_what_git_and_downloads_keep) {
    TempDir t;
    char command[2 * PATH_MAX], found[400];
    SignKey *key;
    SignResult r;
    Error err;
    temp_dir_open(&t);
    copy_model(&t);
    cr_assert_eq(sign_key_open(&key, SIGNED "p256.key.pem", &err), 0);
    int code = sign_directory(&r, temp_path(&t, "model"), &(SignOptions){.key = key}, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    cr_assert_eq(r.n_files, 6);
    cr_assert_not(r.package);
    snprintf(command, sizeof command,
             "cd %s/model && mkdir .git .github .cache && touch .git/x .github/x .cache/x .gitattributes "
             ".gitignore",
             t.path);
    cr_assert_eq(system(command), 0);
    code = check_signed(temp_path(&t, "model/model.sig"), SIGNED "p256.pub.pem", NULL, temp_path(&t, "model"),
                        found, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    cr_assert_str_eq(found, "");
    sign_key_close(key);
    temp_dir_close(&t);
}

/* ---- our own ---- */

Test(packager_signature, signs_by_each_curve_and_by_certificates) {
    static const char *const curves[] = {"p256", "p384", "p521"};
    TempDir t;
    SignKey *key;
    CertChain *chain;
    SignResult r;
    Error err;
    char path[200], found[400];
    temp_dir_open(&t);
    copy_model(&t);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, SIGNED "%s.key.pem", curves[i]);
        cr_assert_eq(sign_key_open(&key, path, &err), 0, "%s", err.message);
        int code = sign_directory(&r, temp_path(&t, "model"), &(SignOptions){.key = key}, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        sign_key_close(key);
        snprintf(path, sizeof path, SIGNED "%s.pub.pem", curves[i]);
        code =
            check_signed(temp_path(&t, "model/model.sig"), path, NULL, temp_path(&t, "model"), found, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        cr_assert_str_eq(found, "");
    }
    cr_assert_eq(sign_key_open(&key, SIGNED "leaf.key.pem", &err), 0);
    cr_assert_eq(cert_chain_open(&chain, SIGNED "leaf.pem", key, &err), 0, "%s", err.message);
    int code = sign_directory(&r, temp_path(&t, "model"), &(SignOptions){.key = key, .chain = chain}, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    code = check_signed(temp_path(&t, "model/model.sig"), NULL, SIGNED "ca.pem", temp_path(&t, "model"),
                        found, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    cr_assert_str_eq(found, "");
    cert_chain_close(chain);
    cr_assert_eq(cert_chain_open(&chain, SIGNED "ca.pem", key, &err), ERR_CHECK); /* another key's */
    sign_key_close(key);
    temp_dir_close(&t);
}

Test(packager_signature, refuses_a_certificate_that_may_not_sign) {
    TempDir t;
    SignKey *key;
    CertChain *chain;
    SignResult r;
    Error err;
    char found[400];
    temp_dir_open(&t);
    copy_model(&t);
    cr_assert_eq(sign_key_open(&key, SIGNED "useless.key.pem", &err), 0);
    cr_assert_eq(cert_chain_open(&chain, SIGNED "useless.pem", key, &err), 0, "%s", err.message);
    SignOptions o = {.key = key, .chain = chain};
    cr_assert_eq(sign_directory(&r, temp_path(&t, "model"), &o, &err), 0, "%s", err.message);
    int code = check_signed(temp_path(&t, "model/model.sig"), NULL, SIGNED "ca.pem", NULL, found, &err);
    cr_assert_eq(code, ERR_CHECK);
    cr_assert(strstr(err.message, "neither digital signatures nor code signing"), "%s", err.message);
    cert_chain_close(chain);
    sign_key_close(key);
    temp_dir_close(&t);
}

Test(packager_signature, signs_no_links) {
    TempDir t;
    SignKey *key;
    SignResult r;
    Error err;
    temp_dir_open(&t);
    copy_model(&t);
    cr_assert_eq(symlink("sub.txt", temp_path(&t, "model/link")), 0);
    cr_assert_eq(sign_key_open(&key, SIGNED "p256.key.pem", &err), 0);
    cr_assert_eq(sign_directory(&r, temp_path(&t, "model"), &(SignOptions){.key = key}, &err), ERR_FORMAT);
    cr_assert_not(path_exists(temp_path(&t, "model/model.sig")));
    sign_key_close(key);
    temp_dir_close(&t);
}

/* ---- keys ---- */

static void run(const char *command) {
    cr_assert_eq(system(command), 0, "%s", command);
}

Test(packager_signature, keys_from_the_environment_and_with_a_password) {
    TempDir t;
    SignKey *key;
    Error err;
    Arena *arena;
    size_t length;
    char command[2 * PATH_MAX];
    temp_dir_open(&t);
    cr_assert_eq(arena_open(&arena, NULL, &err), 0);
    setenv("SOME_KEY", slurp(SIGNED "p384.key.pem", &length, arena), 1);
    cr_assert_eq(sign_key_open(&key, "env:SOME_KEY", &err), 0, "%s", err.message);
    cr_assert_eq(strlen(sign_key_id(key)), 64);
    sign_key_close(key);
    cr_assert_eq(sign_key_open(&key, "env:NO_SUCH_KEY", &err), ERR_IO);
    snprintf(command, sizeof command,
             "openssl pkcs8 -topk8 -in " SIGNED "p256.key.pem -out %s/locked.pem -passout pass:secret 2>&1",
             t.path);
    run(command);
    unsetenv("RECAST_KEY_PASSWORD");
    cr_assert_eq(sign_key_open(&key, temp_path(&t, "locked.pem"), &err), ERR_FORMAT);
    cr_assert(strstr(err.message, "RECAST_KEY_PASSWORD"), "%s", err.message);
    setenv("RECAST_KEY_PASSWORD", "wrong", 1);
    cr_assert_eq(sign_key_open(&key, temp_path(&t, "locked.pem"), &err), ERR_FORMAT);
    cr_assert_not(strstr(err.message, "wrong"), "%s", err.message);
    setenv("RECAST_KEY_PASSWORD", "secret", 1);
    cr_assert_eq(sign_key_open(&key, temp_path(&t, "locked.pem"), &err), 0, "%s", err.message);
    sign_key_close(key);
    arena_close(arena);
    temp_dir_close(&t);
}

Test(packager_signature, refuses_other_keys) {
    TempDir t;
    SignKey *key;
    PublicKey *public;
    Error err;
    char command[2 * PATH_MAX];
    temp_dir_open(&t);
    snprintf(command, sizeof command,
             "cd %s && openssl genrsa -out rsa.pem 2048 2>&1 && "
             "openssl ecparam -name secp256k1 -genkey -noout -out k1.pem 2>&1",
             t.path);
    run(command);
    cr_assert_eq(sign_key_open(&key, temp_path(&t, "rsa.pem"), &err), ERR_UNSUPPORTED, "%s", err.message);
    cr_assert_eq(sign_key_open(&key, temp_path(&t, "k1.pem"), &err), ERR_UNSUPPORTED, "%s", err.message);
    cr_assert_eq(sign_key_open(&key, SIGNED "p256.pub.pem", &err), ERR_FORMAT);
    cr_assert_eq(public_key_open(&public, SIGNED "refuse.txt", &err), ERR_FORMAT);
    cr_assert_eq(public_key_open(&public, temp_path(&t, "absent"), &err), ERR_IO);
    temp_dir_close(&t);
}

/* ---- small parts ---- */

Test(packager_signature, order) {
    static const char *const sorted[] = {"a",  "a/b",       "a/b/c",         "a-b",     "a.b",
                                         "aa", "sub/a.txt", "sub-notes.txt", "sub.txt", "\xC3\xA9"};
    for (size_t i = 0; i < sizeof sorted / sizeof *sorted; i++)
        for (size_t k = 0; k < sizeof sorted / sizeof *sorted; k++) {
            int order = signature_order(sorted[i], sorted[k]);
            cr_assert_eq((order > 0) - (order < 0), (i > k) - (i < k), "%s, %s", sorted[i], sorted[k]);
        }
}

Test(packager_signature, base64) {
    static const char *const texts[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xFB\xFF\xFE", "+//+"}}; /* RFC 4648, section 10 */
    static const char *const bad[] = {
        "Zg=", "Zg", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm9v\n", "Zm 9", "-__-"};
    Buffer b;
    buffer_init(&b, NULL);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        buffer_clear(&b);
        base64_write(&b, texts[i][0], strlen(texts[i][0]));
        cr_assert_str_eq(buffer_string(&b), texts[i][1]);
        buffer_clear(&b);
        cr_assert(base64_read(&b, texts[i][1]));
        cr_assert_str_eq(buffer_string(&b), texts[i][0]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(base64_read(&b, bad[i]), "%s", bad[i]);
    buffer_free(&b);
}

/* ---- chains ---- */

/* A chain root, ca, leaf in t/d, the leaf's directory signed; what verifying it to the root says. */
static int verify_chain(const char *ca_key, const char *leaf_hash, const char *leaf_usage, Error *err) {
    TempDir t;
    SignKey *key;
    CertChain *chain;
    SignResult r;
    char command[4 * PATH_MAX], found[400];
    temp_dir_open(&t);
    copy_model(&t);
    snprintf(
        command, sizeof command,
        "cd %s && exec >/dev/null 2>&1 && ec='ecparam -name prime256v1 -genkey -noout' && "
        "printf '[ca]\nbasicConstraints=CA:TRUE\nkeyUsage=keyCertSign\n[leaf]\n%s\n' >x && "
        "openssl $ec -out root.key && openssl %s >ca.key && openssl $ec -out leaf.key && "
        "for n in root ca leaf; do openssl req -new -key $n.key -subj /CN=$n -out $n.csr || exit; done && "
        "openssl x509 -req -in root.csr -signkey root.key -extfile x -extensions ca -out root.pem && "
        "issue='openssl x509 -req -CAcreateserial -extfile x' && "
        "$issue -in ca.csr -CA root.pem -CAkey root.key -extensions ca -out ca.pem && "
        "$issue -in leaf.csr -CA ca.pem -CAkey ca.key -extensions leaf -%s -out leaf.pem && "
        "cat leaf.pem ca.pem >chain.pem",
        t.path, leaf_usage, *ca_key ? ca_key : "ecparam -name prime256v1 -genkey -noout", leaf_hash);
    run(command);
    cr_assert_eq(sign_key_open(&key, temp_path(&t, "leaf.key"), err), 0, "%s", err->message);
    cr_assert_eq(cert_chain_open(&chain, temp_path(&t, "chain.pem"), key, err), 0, "%s", err->message);
    SignOptions o = {.key = key, .chain = chain};
    cr_assert_eq(sign_directory(&r, temp_path(&t, "model"), &o, err), 0, "%s", err->message);
    snprintf(command, sizeof command, "%s", temp_path(&t, "root.pem"));
    int code = check_signed(temp_path(&t, "model/model.sig"), NULL, command, NULL, found, err);
    cert_chain_close(chain);
    sign_key_close(key);
    temp_dir_close(&t);
    return code;
}

Test(packager_signature, refuses_a_chain_that_can_be_forged, .timeout = 60) {
    static const char usage[] = "keyUsage=digitalSignature";
    Error err;
    cr_assert_eq(verify_chain("", "sha256", usage, &err), 0, "%s", err.message);
    cr_assert_eq(verify_chain("", "sha256", "extendedKeyUsage=codeSigning", &err), 0, "%s", err.message);
    cr_assert_eq(verify_chain("", "sha1", usage, &err), ERR_CHECK);
    cr_assert_eq(verify_chain("genrsa 512", "sha256", usage, &err), ERR_CHECK);
    cr_assert_eq(verify_chain("genrsa 2048", "sha256", usage, &err), 0, "%s", err.message);
    /* code signing, with a key that says it signs nothing */
    int code = verify_chain("", "sha256", "keyUsage=keyAgreement\\nextendedKeyUsage=codeSigning", &err);
    cr_assert_eq(code, ERR_CHECK);
    cr_assert(strstr(err.message, "neither digital signatures"), "%s", err.message);
    cr_assert_eq(verify_chain("", "sha256", "keyUsage=digitalSignature\\nbasicConstraints=CA:TRUE", &err), 0);
}
