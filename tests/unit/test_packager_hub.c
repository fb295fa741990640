/* test_packager_hub.c -- names, URLs, hashes and the journal of unfinished uploads. What goes over the wire
 * is tested by tests/cli/publish.sh and compare-hub.sh against tests/hub. */
#include "packager/dsse.h"
#include "packager/gpus.h"
#include "packager/hub_repo.h"
#include "packager/publish_private.h"
#include "support.h"
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

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
    static const char *const secrets[] = {"http://me:geheim@x", "https://geheim@x/y", "me:geheim@x",
                                          "http://x/?token=geheim", "http://x/#geheim"};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        o = (HubOptions){.endpoint = secrets[i]};
        cr_expect_eq(hub_open(&hub, &o, &err), ERR_USAGE, "%s", secrets[i]);
        cr_expect(!strstr(err.message, "geheim"), "%s", err.message);
    }
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
        base64_write(&b, pairs[i][0], strlen(pairs[i][0]));
        cr_expect_str_eq(buffer_string(&b), pairs[i][1]);
        buffer_free(&b);
    }
    Buffer b;
    buffer_init(&b, NULL);
    base64_write(&b, "\xff\xfe\xfb", 3);
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

/* ---- redirects ---- */

enum { REQUEST_ROOM = 4096 };

typedef struct OneAnswer {
    int socket;
    const char *answer;
    char request[REQUEST_ROOM];
} OneAnswer;

static int listen_at(OneAnswer *a) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    a->socket = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(a->socket, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(a->socket, 1), 0);
    cr_assert_eq(getsockname(a->socket, (struct sockaddr *)&at, &length), 0);
    return ntohs(at.sin_port);
}

static void *answer_once(void *context) {
    OneAnswer *a = context;
    size_t at = 0;
    int c = accept(a->socket, NULL, NULL);
    while (!strstr(a->request, "\r\n\r\n")) {
        ssize_t n = recv(c, a->request + at, REQUEST_ROOM - 1 - at, 0);
        if (n <= 0) break;
        at += (size_t)n;
    }
    if (send(c, a->answer, strlen(a->answer), 0) < 0) at = 0;
    close(c);
    close(a->socket);
    return NULL;
}

/* Token and header were given for one server; where a redirect leads they are not sent. */
Test(hub, a_redirect_takes_no_rights_along, .timeout = 30) {
    OneAnswer first = {0}, second = {0};
    pthread_t threads[2];
    char endpoint[64], moved[256];
    Hub *hub;
    HubAnswer a = {0};
    Error err;
    int port = listen_at(&first), other = listen_at(&second);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", port);
    snprintf(moved, sizeof moved,
             "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:%d/there\r\nContent-Length: 0\r\n"
             "Connection: close\r\n\r\n",
             other);
    first.answer = moved;
    second.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    pthread_create(&threads[0], NULL, answer_once, &first);
    pthread_create(&threads[1], NULL, answer_once, &second);
    HubOptions options = {.endpoint = endpoint, .token = "hf_secret"};
    cr_assert_eq(hub_open(&hub, &options, &err), 0, "%s", err.message);
    HubRequest r = {.method = "GET", .url = "/here", .authorize = true, .header = "X-Right: given"};
    cr_assert_eq(hub_send(hub, &r, &a, &err), 0, "%s", err.message);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    cr_assert_eq(a.status, 200);
    cr_assert(strstr(first.request, "hf_secret") && strstr(first.request, "X-Right: given"));
    cr_assert(strstr(second.request, "GET /there"), "%s", second.request);
    cr_assert_not(strstr(second.request, "hf_secret"), "%s", second.request);
    cr_assert_not(strstr(second.request, "X-Right"), "%s", second.request);
    hub_answer_free(&a);
    hub_close(hub);
}

/* ---- what messages show of a URL ---- */

/* One request to a server that gives this answer ("" drops the line); what is said about it is in err. */
static void refused(const char *answer, const char *url_after_host, const char *user, Error *err) {
    OneAnswer server = {.answer = answer};
    pthread_t thread;
    char url[256], *all;
    Hub *hub;
    HubAnswer a = {0};
    cJSON *json = NULL;
    int port = listen_at(&server);
    cr_assert(asprintf(&all, answer, port) > 0 || !*answer);
    server.answer = all;
    pthread_create(&thread, NULL, answer_once, &server);
    snprintf(url, sizeof url, "http://%s127.0.0.1:%d%s", user, port, url_after_host);
    HubOptions options = {.endpoint = "http://127.0.0.1:1", .token = "hf_secret", .wait = 0.001};
    cr_assert_eq(hub_open(&hub, &options, err), 0, "%s", err->message);
    HubRequest r = {.method = "GET", .url = url};
    int code = hub_send(hub, &r, &a, err);
    if (!code && a.status != 200) code = hub_refused(hub, &r, &a, err);
    if (!code) code = hub_parse(&r, &a, &json, err);
    cr_assert_neq(code, 0);
    pthread_join(thread, NULL);
    hub_answer_free(&a);
    hub_close(hub);
    free(all);
}

/* A presigned URL is a right to whoever reads it; so is a password in one. */
Test(hub, no_message_shows_the_query_of_a_url, .timeout = 60) {
    static const char *const answers[] = {
        "",
        "HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 403 No\r\nConnection: close\r\n\r\n{\"error\":\"no http://me:GEHEIM@h:%d/x?sig=GEHEIM "
        "here\"}",
        "HTTP/1.1 403 No\r\nX-Error-Message: <https://h:%d/x?a=GEHEIM#GEHEIM>\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{x}",
        "HTTP/1.1 307 Go\r\nLocation: http://me:GEHEIM@127.0.0.1:1/there?sig=GEHEIM\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n",
        "HTTP/1.1 307 Go\r\nLocation: ftp://me:GEHEIM@127.0.0.1/there?sig=GEHEIM\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n",
    };
    static const char *const expected[] = {"GET /part/1: no answer",
                                           "GET /part/1: the Hub answers 403",
                                           "(no http://h:",
                                           "(<https://h:",
                                           "/part/1",
                                           "GET /there: no answer from 127.0.0.1:1",
                                           "no answer from 127.0.0.1"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        for (int user = 0; user < 2; user++) {
            Error err = {0};
            refused(answers[i], "/part/1?X-Amz-Signature=GEHEIM&x=1", user ? "me:GEHEIM@" : "", &err);
            cr_expect(!strstr(err.message, "GEHEIM"), "%zu: %s", i, err.message);
            cr_expect(!strstr(err.message, "Amz"), "%zu: %s", i, err.message);
            cr_expect(strstr(err.message, expected[i]), "%zu: %s", i, err.message);
        }
}
