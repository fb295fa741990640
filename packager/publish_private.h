/* publish_private.h -- what the publish_*.c files share. Not for other rooms. */
#ifndef RECAST_PACKAGER_PUBLISH_PRIVATE_H
#define RECAST_PACKAGER_PUBLISH_PRIVATE_H

#include "packager/manifest.h"
#include "packager/publish.h"
#include <pthread.h>

typedef struct PublishJournal PublishJournal;

/* All of a run. */
typedef struct Publish {
    Hub *hub;
    const char *directory;
    const PublishOptions *options;
    const char *revision;         /* options' or "main" */
    const char *revision_in_path; /* percent-encoded */
    Manifest *manifest;
    Input **inputs; /* one a file, open */
    PublishResult *result;
    PublishJournal *journal;
    char head[65];         /* the branch's commit before this one; "" if it could not be read */
    bool exists;           /* the repository does */
    Arena *arena;          /* the result's; not for threads side by side */
    _Atomic uint64_t sent; /* bytes of LFS files, as they go */
    uint64_t to_send, had; /* bytes of LFS files; of those, parts that an earlier run has sent */
    pthread_mutex_t lock;  /* of progress */
} Publish;

/* ---- publish_files.c ---- */
/* Lists the directory and holds it against the manifest by names and sizes; opens every file, without
 * following links. What is hashed and sent afterwards is read from these inputs. */
int publish_list(Publish *p, Error *err) MUST_CHECK;
/* ERR_CHECK if something has written to one of them since. */
int publish_unchanged(const Publish *p, Error *err) MUST_CHECK;
/* Hashes every file (or takes the journal's word for one that didn't change) and compares. */
int publish_hash(Publish *p, Error *err) MUST_CHECK;
/* A whole small file, NUL-terminated, in the arena. ERR_LIMIT above 100 MiB. */
int publish_content(Publish *p, size_t file, char **bytes, Error *err) MUST_CHECK;

/* ---- publish_repo.c ---- */
int publish_check_card(Publish *p, Error *err) MUST_CHECK;
/* Makes the repository and the branch unless they are there (in a dry run: looks), and reads the branch's
 * head. */
int publish_open_repo(Publish *p, Error *err) MUST_CHECK;
/* The branch's commit into out ("" if the Hub doesn't know the branch). *is_private may be NULL. */
int publish_head(Publish *p, char out[65], bool *is_private, Error *err) MUST_CHECK;
/* Which files go as LFS, and which are there already. */
int publish_preupload(Publish *p, Error *err) MUST_CHECK;

/* ---- publish_lfs.c, publish_parts.c ---- */
/* Brings every LFS file's bytes to the Hub's store. */
int publish_upload(Publish *p, Error *err) MUST_CHECK;

/* Where one object goes. */
typedef struct UploadTarget {
    const char *href; /* of a single PUT, or the URL that completes a multipart upload */
    uint64_t chunk;   /* bytes of a part; 0: a single PUT */
    size_t n_parts;
    const char **urls;         /* of the parts */
    const char *verify;        /* URL, NULL: none */
    const char *verify_header; /* "Authorization: ..." of the action; NULL */
} UploadTarget;
/* Reads and checks "actions" of a batch answer. Strings are copied to the arena. */
int upload_target_read(UploadTarget *out, const Publish *p, const PublishFile *f, const cJSON *actions,
                       Error *err) MUST_CHECK;
/* Asks for one object anew. *actions: NULL when the Hub has it meanwhile; else the caller deletes *document.
 */
int publish_ask_again(Publish *p, const PublishFile *f, cJSON **document, const cJSON **actions,
                      Error *err) MUST_CHECK;
/* Sends one multipart object, the parts side by side. actions: from a batch answer. */
int publish_parts(Publish *p, size_t file, const cJSON *actions, Error *err) MUST_CHECK;
/* Tells the Hub that an object is complete, if it wants to know. */
int publish_verify(Publish *p, unsigned connection, const PublishFile *f, const UploadTarget *t,
                   Error *err) MUST_CHECK;
/* Did the answer say that a presigned URL is no longer good? */
bool publish_stale(const HubAnswer *a);

/* ---- publish_commit.c ---- */
int publish_commit(Publish *p, Error *err) MUST_CHECK;
/* Compares what the Hub holds at a revision (of the form that stands in a path) with the files. *same: equal.
 * With same NULL a difference is ERR_CHECK. */
int publish_compare(Publish *p, const char *revision, bool *same, Error *err) MUST_CHECK;
/* Paths on that revision which the package doesn't have. */
int publish_others(Publish *p, const char *revision, Error *err) MUST_CHECK;

/* ---- publish_journal.c: lines of JSON, appended as things happen; all may be called by any thread ---- */
/* key: 64 hex digits. directory NULL: a journal that remembers nothing. ERR_IO if another run has it. */
int publish_journal_open(PublishJournal **out, const char *directory, const char *key, Error *err) MUST_CHECK;
void publish_journal_close(PublishJournal *j, bool finished); /* NULL-safe; finished: removes it */
/* The SHA-256 of the file with that identity (64 hex digits); NULL if it isn't known. */
const char *publish_journal_hash(PublishJournal *j, const char *identity);
void publish_journal_note_hash(PublishJournal *j, const char *identity, const char *sha256);
/* The actions under which parts of an object went before; NULL if there are none. */
const cJSON *publish_journal_actions(PublishJournal *j, const char *oid);
const char *publish_journal_etag(PublishJournal *j, const char *oid, size_t part); /* NULL: not sent */
void publish_journal_note_actions(PublishJournal *j, const char *oid, const cJSON *actions);
void publish_journal_note_part(PublishJournal *j, const char *oid, size_t part, const char *etag);
void publish_journal_forget(PublishJournal *j, const char *oid);

#endif
