/* test_packager_hub.c -- names, URLs, hashes and the journal of unfinished uploads. What goes over the wire
 * is tested by tests/cli/publish.sh and compare-hub.sh against tests/hub. */
#include "packager/gpus.h"
#include "packager/hub_repo.h"
#include "packager/publish_private.h"
#include "support.h"

#define HASH_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define HASH_2 "2222222222222222222222222222222222222222222222222222222222222222"

Test(hub, repositories_are_named_user_slash_name) {
    static const char *const good[] = {"a/b", "Qwen/Qwen3-30B-A3B", "me_2/x.y-z"};
    static const char *const bad[] = {"",     "a",    "a/",   "/b",    "a/b/c", "a b/c",
                                      "../c", "a/..", "a/-b", "a/b?x", "a/b\n"};
    for (size_t i = 0; i < 3; i++) cr_expect(hub_is_repo(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) cr_expect(!hub_is_repo(bad[i]), "%s", bad[i]);
}

Test(hub, a_revision_in_a_path_is_encoded) {
    Buffer b;
    buffer_init(&b, NULL);
    hub_encode(&b, "refs/pr/1", false);
    cr_expect_str_eq(buffer_string(&b), "refs%2Fpr%2F1");
    buffer_clear(&b);
    hub_encode(&b, "a b/\xc3\xa4?#%.gguf", true);
    cr_expect_str_eq(buffer_string(&b), "a%20b/%C3%A4%3F%23%25.gguf");
    buffer_free(&b);
}

Test(hub, the_token_stays_at_one_origin) {
    cr_expect(hub_same_origin("https://huggingface.co/api/x", "https://huggingface.co"));
    cr_expect(hub_same_origin("https://huggingface.co:443/x", "https://huggingface.co"));
    cr_expect(!hub_same_origin("http://huggingface.co/x", "https://huggingface.co"));
    cr_expect(!hub_same_origin("https://huggingface.co:444/x", "https://huggingface.co"));
    cr_expect(!hub_same_origin("https://huggingface.co.evil/x", "https://huggingface.co"));
    cr_expect(!hub_same_origin("https://huggingface.co@evil/x", "https://huggingface.co"));
    cr_expect(!hub_same_origin("https://cdn.huggingface.co/x", "https://huggingface.co"));
    cr_expect(!hub_same_origin("not a url", "https://huggingface.co"));
}

Test(hub, what_can_not_be_opened) {
    Hub *hub;
    Error err;
    HubOptions o = {.endpoint = "ftp://x"};
    cr_expect_eq(hub_open(&hub, &o, &err), ERR_USAGE);
    o = (HubOptions){.token = "two words"};
    cr_expect_eq(hub_open(&hub, &o, &err), ERR_FORMAT);
    cr_expect(!strstr(err.message, "words"));
    o.token = "x\r\nHost: evil";
    cr_expect_eq(hub_open(&hub, &o, &err), ERR_FORMAT);
    o = (HubOptions){.endpoint = "http://localhost:1//", .token = "t"};
    cr_assert_eq(hub_open(&hub, &o, &err), 0);
    cr_expect_str_eq(hub_endpoint(hub), "http://localhost:1");
    hub_close(hub);
}

Test(hub, git_names_blobs_by_sha1) {
    char hex[41];
    cr_assert_eq(git_blob_oid(hex, "", 0, NULL), 0);
    cr_expect_str_eq(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    cr_assert_eq(git_blob_oid(hex, "hello\n", 6, NULL), 0);
    cr_expect_str_eq(hex, "ce013625030ba8dba906f756967f9e9ca394464a");
}

Test(publish, base64_as_rfc_4648_has_it) {
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < 7; i++) {
        Buffer b;
        buffer_init(&b, NULL);
        publish_base64(&b, pairs[i][0], strlen(pairs[i][0]));
        cr_expect_str_eq(buffer_string(&b), pairs[i][1]);
        buffer_free(&b);
    }
    Buffer b;
    buffer_init(&b, NULL);
    publish_base64(&b, "\xff\xfe\xfb", 3);
    cr_expect_str_eq(buffer_string(&b), "//77");
    buffer_free(&b);
}

Test(publish, the_journal_remembers_what_a_killed_run_has_done) {
    char directory[] = "/tmp/recast-journal.XXXXXX", path[200];
    PublishJournal *j, *second;
    Error err;
    cr_assert(mkdtemp(directory));
    cJSON *actions = cJSON_Parse("{\"upload\":{\"href\":\"x\"}}");
    cr_assert_eq(publish_journal_open(&j, directory, HASH_1, &err), 0, "%s", err.message);
    cr_expect_eq(publish_journal_open(&second, directory, HASH_1, &err), ERR_IO); /* one at a time */
    cr_expect_null(publish_journal_hash(j, HASH_1));
    publish_journal_note_hash(j, HASH_1, HASH_2);
    publish_journal_note_actions(j, HASH_2, actions);
    publish_journal_note_part(j, HASH_2, 0, "\"a\"");
    publish_journal_note_part(j, HASH_2, 12, "\"b\"");
    publish_journal_close(j, false);

    snprintf(path, sizeof path, "%s/" HASH_1 ".journal", directory);
    FILE *f = fopen(path, "a");
    fputs("{\"oid\":\"cut off", f);
    fclose(f);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(publish_journal_open(&j, directory, HASH_1, &err), 0, "%s", err.message);
        cr_expect_str_eq(publish_journal_hash(j, HASH_1), HASH_2);
        cr_expect(cJSON_Compare(publish_journal_actions(j, HASH_2), actions, true));
        cr_expect_str_eq(publish_journal_etag(j, HASH_2, 0), "\"a\"");
        cr_expect_str_eq(publish_journal_etag(j, HASH_2, 12), "\"b\"");
        cr_expect_null(publish_journal_etag(j, HASH_2, 1));
        if (round) publish_journal_forget(j, HASH_2);
        publish_journal_close(j, false);
    }
    cr_assert_eq(publish_journal_open(&j, directory, HASH_1, &err), 0);
    cr_expect_null(publish_journal_actions(j, HASH_2));
    cr_expect_null(publish_journal_etag(j, HASH_2, 0));
    cr_expect_str_eq(publish_journal_hash(j, HASH_1), HASH_2);
    publish_journal_close(j, true);
    cr_expect_eq(access(path, F_OK), -1);
    cr_expect_eq(rmdir(directory), 0);
    cJSON_Delete(actions);
}

Test(gpus, names_are_found_as_people_write_them) {
    cJSON *table;
    Error err;
    uint64_t bytes;
    const char *name;
    cr_assert_eq(gpus_load(&table, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gpu_find(table, "RTX 6000 Ada", &bytes, &name, &err), 0);
    cr_expect_eq(bytes, 48ull << 30);
    cr_assert_eq(gpu_find(table, "nvidia geforce rtx-4090", &bytes, &name, &err), 0);
    cr_expect_eq(bytes, 24ull << 30);
    cr_expect_str_eq(name, "RTX 4090");
    cr_expect_eq(gpu_find(table, "RTX 4091", &bytes, &name, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "RTX 409"), "%s", err.message);
    cr_expect_eq(gpu_find(table, "", &bytes, &name, &err), ERR_USAGE);
    cJSON_Delete(table);
}
