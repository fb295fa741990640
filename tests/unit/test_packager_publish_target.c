/* test_packager_publish_target.c -- where the Hub says that an object goes: URLs that are none, or that would
 * send without encryption what came over https. */
#include "packager/publish_private.h"
#include "support.h"

static const PublishFile file = {.path = "a.gguf", .size = 25, .sha256 = "00"};

static int target(UploadTarget *t, const char *endpoint, const char *json, Error *err) {
    static Arena *arena; /* t's strings are in it */
    Publish p = {0};
    cJSON *actions = cJSON_Parse(json);
    cr_assert_not_null(actions, "%s", json);
    if (arena) arena_close(arena);
    cr_assert_eq(arena_open(&arena, NULL, err), 0);
    p.arena = arena;
    cr_assert_eq(hub_open(&p.hub, &(HubOptions){.endpoint = endpoint}, err), 0);
    int code = upload_target_read(t, &p, &file, actions, err);
    hub_close(p.hub);
    cJSON_Delete(actions);
    return code;
}

#define HREF(url)   "{\"upload\":{\"href\":\"" url "\"}}"
#define VERIFY(url) "{\"upload\":{\"href\":\"https://x/\"},\"verify\":{\"href\":\"" url "\"}}"
#define PARTS(url)                                                                                  \
    "{\"upload\":{\"href\":\"https://x/\",\"header\":{\"chunk_size\":\"20\",\"1\":\"https://x/1\"," \
    "\"00002\":\"" url "\"}}}"

Test(test_packager_publish_target, urls) {
    static const char *const good[] = {HREF("https://s3/x?y=1"), VERIFY("https://s3/x"),
                                       PARTS("https://s3/2")};
    static const char *const plain[] = {HREF("http://s3/x"), VERIFY("http://s3/x"), PARTS("http://s3/2")};
    static const char *const bad[] = {
        HREF("ftp://s3/x"), HREF("/x"),    HREF(""),  HREF("HTTP://s3/x"),  VERIFY("file:///x"),
        PARTS("/2"),        PARTS("s3/2"), PARTS(""), PARTS("file:///etc"), "{\"upload\":{\"href\":1}}"};
    UploadTarget t;
    Error err;
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(target(&t, "https://hub", good[i], &err), 0, "%s: %s", good[i], err.message);
        cr_expect_eq(target(&t, "http://hub", plain[i], &err), 0, "%s: %s", plain[i], err.message);
        cr_expect_eq(target(&t, "https://hub", plain[i], &err), ERR_FORMAT, "%s", plain[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(target(&t, "http://hub", bad[i], &err), ERR_FORMAT, "%s", bad[i]);
    cr_assert_eq(target(&t, "https://mirror", HREF("https://huggingface.co/x"), &err), 0);
    cr_assert_str_eq(t.href, "https://mirror/x");
    cr_assert_eq(target(&t, "https://hub", HREF("https://huggingface.co.evil/x"), &err), 0);
    cr_assert_str_eq(t.href, "https://huggingface.co.evil/x");
}

Test(test_packager_publish_target, encryption_is_not_given_up) {
    cr_assert(hub_gives_up_tls("https://a/", "http://a/"));
    cr_assert(hub_gives_up_tls("HTTPS://a/", "ftp://a/"));
    cr_assert_not(hub_gives_up_tls("https://a/", "HTTPS://b/"));
    cr_assert_not(hub_gives_up_tls("http://a/", "http://b/"));
}
