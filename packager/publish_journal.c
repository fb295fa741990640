/* publish_journal.c -- what an upload that was killed has done already.
 *
 * One file a (endpoint, repository, revision, package), mode 0600, since presigned URLs are a right to write.
 * A line is appended after each step, so a kill loses at most the step at hand; a line that was cut is passed
 * over. It is removed when the commit is made. */
#include "core/json.h"
#include "packager/publish_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOURNAL_LIMIT = 256 << 20 };

struct PublishJournal {
    int fd;      /* -1: remembers nothing */
    bool locked; /* by this run */
    char path[4096];
    pthread_mutex_t lock;
    cJSON *hashes;  /* identity -> sha256 */
    cJSON *uploads; /* oid -> {"actions": {...}, "etags": {"1": "..."}} */
};

static cJSON *upload_of(PublishJournal *j, const char *oid, bool make) {
    cJSON *u = cJSON_GetObjectItemCaseSensitive(j->uploads, oid);
    return u || !make ? u : cJSON_AddObjectToObject(j->uploads, oid);
}

static void set_item(cJSON *object, const char *key, cJSON *value) {
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    if (!object || !value || !cJSON_AddItemToObject(object, key, value)) cJSON_Delete(value);
}

/* Takes a line's news over. */
static void apply(PublishJournal *j, cJSON *line) {
    const char *oid = cJSON_GetStringValue(json_get(line, "oid")),
               *id = cJSON_GetStringValue(json_get(line, "file")),
               *hash = cJSON_GetStringValue(json_get(line, "sha256")),
               *etag = cJSON_GetStringValue(json_get(line, "etag")),
               *part = cJSON_GetStringValue(json_get(line, "part"));
    if (sha256_is_hex(id) && sha256_is_hex(hash)) set_item(j->hashes, id, cJSON_CreateString(hash));
    if (!sha256_is_hex(oid)) return;
    if (cJSON_IsTrue(json_get(line, "gone"))) cJSON_DeleteItemFromObjectCaseSensitive(j->uploads, oid);
    cJSON *actions = cJSON_DetachItemFromObjectCaseSensitive(line, "actions");
    if (cJSON_IsObject(actions))
        set_item(upload_of(j, oid, true), "actions", actions);
    else
        cJSON_Delete(actions);
    cJSON *u = part && etag ? upload_of(j, oid, false) : NULL;
    if (!u) return;
    cJSON *etags = cJSON_GetObjectItemCaseSensitive(u, "etags");
    if (!etags) etags = cJSON_AddObjectToObject(u, "etags");
    set_item(etags, part, cJSON_CreateString(etag));
}

static void read_lines(PublishJournal *j, char *text, size_t length) {
    for (char *line = text, *end;
         line < text + length && (end = memchr(line, '\n', (size_t)(text + length - line))); line = end + 1) {
        cJSON *json = NULL;
        if (json_parse(&json, line, (size_t)(end - line), "journal", NULL)) continue;
        apply(j, json);
        cJSON_Delete(json);
    }
}

static int read_back(PublishJournal *j, Error *err) {
    struct stat st;
    if (fstat(j->fd, &st) != 0) return error_sys(err, ERR_IO, errno, "%s", j->path);
    if (!S_ISREG(st.st_mode) || st.st_size > JOURNAL_LIMIT)
        return error_set(err, ERR_FORMAT, "%s is no journal of recast; remove it", j->path);
    char *text = mem_alloc(NULL, (size_t)st.st_size + 1);
    if (!text) return error_memory(err, j->path);
    ssize_t n = pread(j->fd, text, (size_t)st.st_size, 0);
    /* A line that a kill has cut must not swallow the next one. */
    if (n > 0 && text[n - 1] != '\n' && write(j->fd, "\n", 1) != 1) n = 0;
    if (n > 0) read_lines(j, text, (size_t)n);
    mem_free(NULL, text);
    return 0;
}

/* Makes a directory and those above it. */
static int make_directories(const char *path, Error *err) {
    char part[4096];
    size_t length = strlen(path);
    if (length >= sizeof part) return error_set(err, ERR_LIMIT, "%s is too long a path", path);
    for (size_t i = 1; i <= length; i++) {
        if (i < length && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST && i == length)
            return error_sys(err, ERR_IO, errno, "can't make the directory %s", path);
    }
    return 0;
}

static int open_file(PublishJournal *j, const char *directory, const char *key, Error *err) {
    TRY(make_directories(directory, err));
    int n = snprintf(j->path, sizeof j->path, "%s/%s.journal", directory, key);
    if (n < 0 || (size_t)n >= sizeof j->path) return error_set(err, ERR_LIMIT, "%s is too long", directory);
    j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (j->fd < 0) return error_sys(err, ERR_IO, errno, "can't write %s", j->path);
    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, ERR_IO,
                         "this package is being published to this repository by another process");
    j->locked = true;
    return read_back(j, err);
}

int publish_journal_open(PublishJournal **out, const char *directory, const char *key, Error *err) {
    *out = NULL;
    PublishJournal *j = mem_alloc(NULL, sizeof *j);
    if (!j) return error_memory(err, "a journal");
    *j = (PublishJournal){.fd = -1, .hashes = cJSON_CreateObject(), .uploads = cJSON_CreateObject()};
    pthread_mutex_init(&j->lock, NULL);
    int code = j->hashes && j->uploads ? 0 : error_memory(err, "a journal");
    if (!code && directory) code = open_file(j, directory, key, err);
    if (code) {
        publish_journal_close(j, false);
        return code;
    }
    *out = j;
    return 0;
}

void publish_journal_close(PublishJournal *j, bool finished) {
    if (!j) return;
    struct stat st;
    bool empty = j->fd >= 0 && fstat(j->fd, &st) == 0 && st.st_size == 0;
    if ((finished || empty) && j->locked) unlink(j->path);
    if (j->fd >= 0) close(j->fd);
    cJSON_Delete(j->hashes);
    cJSON_Delete(j->uploads);
    pthread_mutex_destroy(&j->lock);
    mem_free(NULL, j);
}

/* A journal that can't be written only costs time after a kill, so that is no error. */
static void note(PublishJournal *j, cJSON *line) {
    Buffer b;
    buffer_init(&b, NULL);
    json_write_canonical(&b, line);
    buffer_char(&b, '\n');
    pthread_mutex_lock(&j->lock);
    if (!b.failed && j->fd >= 0 && write(j->fd, b.data, b.length) < 0 && errno == EBADF) j->fd = -1;
    apply(j, line);
    pthread_mutex_unlock(&j->lock);
    buffer_free(&b);
    cJSON_Delete(line);
}

const char *publish_journal_hash(PublishJournal *j, const char *identity) {
    pthread_mutex_lock(&j->lock);
    const char *hash = cJSON_GetStringValue(json_get(j->hashes, identity));
    pthread_mutex_unlock(&j->lock);
    return hash;
}

void publish_journal_note_hash(PublishJournal *j, const char *identity, const char *sha256) {
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "file", identity);
    cJSON_AddStringToObject(line, "sha256", sha256);
    note(j, line);
}

const cJSON *publish_journal_actions(PublishJournal *j, const char *oid) {
    pthread_mutex_lock(&j->lock);
    const cJSON *actions = json_get(json_get(j->uploads, oid), "actions");
    pthread_mutex_unlock(&j->lock);
    return actions;
}

const char *publish_journal_etag(PublishJournal *j, const char *oid, size_t part) {
    char key[24];
    snprintf(key, sizeof key, "%zu", part);
    pthread_mutex_lock(&j->lock);
    const char *etag = cJSON_GetStringValue(json_get(json_get(json_get(j->uploads, oid), "etags"), key));
    pthread_mutex_unlock(&j->lock);
    return etag;
}

void publish_journal_note_actions(PublishJournal *j, const char *oid, const cJSON *actions) {
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "oid", oid);
    cJSON_AddItemToObject(line, "actions", cJSON_Duplicate(actions, true));
    note(j, line);
}

void publish_journal_note_part(PublishJournal *j, const char *oid, size_t part, const char *etag) {
    char key[24];
    snprintf(key, sizeof key, "%zu", part);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "oid", oid);
    cJSON_AddStringToObject(line, "part", key);
    cJSON_AddStringToObject(line, "etag", etag);
    note(j, line);
}

void publish_journal_forget(PublishJournal *j, const char *oid) {
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "oid", oid);
    cJSON_AddBoolToObject(line, "gone", true);
    note(j, line);
}
