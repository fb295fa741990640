/* cmd_sign.c -- sign a directory, or check its signature alone. */
#include "cli/cli.h"
#include "packager/sign.h"
#include <stdio.h>
#include <stdlib.h>

static int print_signed(const Cli *cli, const char *directory, const SignKey *key, const SignResult *r,
                        Error *err) {
    char size[32];
    if (cli->json) {
        cJSON *doc = cJSON_CreateObject();
        if (!doc) return error_memory(err, "the JSON output");
        cJSON_AddStringToObject(doc, "directory", directory);
        cJSON_AddStringToObject(doc, "key", sign_key_id(key));
        cJSON_AddNumberToObject(doc, "files", (double)r->n_files);
        cJSON_AddNumberToObject(doc, "bytes", (double)r->bytes);
        cJSON_AddBoolToObject(doc, "package", r->package);
        cJSON_AddBoolToObject(doc, "provenance", r->provenance);
        return cli_print_json(doc, err);
    }
    if (cli->quiet) return 0;
    printf("%s/model.sig: %zu files, %s%s, signed by key %s\n", directory, r->n_files,
           human_bytes(r->bytes, size), r->package ? ", as manifest.json says" : "", sign_key_id(key));
    if (r->provenance)
        printf("%s/" PROVENANCE_SIGNED_FILE ": " PROVENANCE_FILE ", signed by the same\n", directory);
    return 0;
}

static int sign(Cli *cli, const char *directory, const char *key_name, const char *chain_path,
                const char *subject, Error *err) {
    SignOptions o = {.subject = subject, .hash = {cli->threads, &cli->progress}};
    SignKey *key = NULL;
    CertChain *chain = NULL;
    SignResult result;
    int code = sign_key_open(&key, key_name, err);
    if (!code && chain_path) code = cert_chain_open(&chain, chain_path, key, err);
    o.key = key;
    o.chain = chain;
    if (!code) code = sign_directory(&result, directory, &o, err);
    cli_end_progress(cli);
    if (!code) code = print_signed(cli, directory, key, &result, err);
    cert_chain_close(chain);
    sign_key_close(key);
    return code;
}

static int cmd_sign(Cli *cli, int argc, char **argv, Error *err) {
    const char *key = NULL, *chain = NULL, *subject = NULL;
    const OptionSpec specs[] = {
        {"--key", 0, OPTION_STRING, "FILE", "private key in PEM; env:NAME takes it out of that variable",
         &key},
        {"--chain", 0, OPTION_STRING, "FILE",
         "sign with certificates (PEM; the signer's first), not by key alone", &chain},
        {"--name", 0, OPTION_STRING, "NAME", "what to call the model (default: the package's name, or DIR's)",
         &subject},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!key && getenv("RECAST_SIGN_KEY")) key = "env:RECAST_SIGN_KEY";
    if (!key)
        return error_set(err, ERR_USAGE,
                         "no key: --key FILE, --key env:NAME, or its text in RECAST_SIGN_KEY");
    return sign(cli, cli->args.items[0], key, chain, subject, err);
}

const Command command_sign = {
    .name = "sign",
    .summary = "sign a package or any directory: an OpenSSF model signature, model.sig",
    .usage = "sign DIR --key FILE [--chain FILE] [--name NAME]",
    .details =
        "The key is EC on P-256, P-384 or P-521. A package that does not agree with its own manifest is not "
        "signed. Its\n"
        "provenance statement is signed too. RECAST_KEY_PASSWORD holds the password of an encrypted key; "
        "without "
        "--key\n"
        "the key's text is taken from RECAST_SIGN_KEY.\n"
        "recast validate DIR --key PUB.pem checks it, and so does: model_signing verify key DIR --signature\n"
        "DIR/model.sig --public_key PUB.pem",
    .examples = "  openssl ecparam -name prime256v1 -genkey -noout -out mine.pem\n"
                "  openssl ec -in mine.pem -pubout -out mine.pub.pem\n"
                "  recast sign out/tiny-extreme --key mine.pem\n"
                "  recast validate out/tiny-extreme --key mine.pub.pem\n",
    .run = cmd_sign,
};
