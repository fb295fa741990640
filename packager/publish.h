/* publish.h -- a package directory becomes one commit of a model repository on the Hugging Face Hub.
 *
 * The classic Git LFS path, which the Hub keeps for clients that don't speak Xet
 * (huggingface.co/docs/hub/xet): card checked, repository made, files hashed and held against the manifest,
 * `preupload` asked which go as LFS and which are there, `batch` for where to put them, single or multipart
 * PUTs side by side, `verify`, one commit with parentCommit, and a look at what the Hub then holds. */
#ifndef RECAST_PACKAGER_PUBLISH_H
#define RECAST_PACKAGER_PUBLISH_H

#include "core/progress.h"
#include "core/sha256.h"
#include "packager/hub.h"

typedef struct PublishOptions {
    const char *repo;     /* "user/name" */
    const char *revision; /* a branch, made if it is missing; NULL: "main" */
    const char *message;  /* first line of the commit; NULL: made of the package's name */
    bool private;         /* a repository that is made is private; one that is public is refused */
    bool create_pr;       /* a pull request instead of a commit on the branch */
    bool dry_run;         /* send nothing and make nothing; without a token, ask nothing either */
    /* A directory for the state of unfinished uploads (made if missing, mode 0700): hashes, presigned URLs
     * and parts that arrived, so that a killed run goes on. NULL: none is kept. */
    const char *state_directory;
    unsigned threads; /* that hash; 0: one a processor */
    const Progress *progress;
} PublishOptions;

typedef enum PublishState {
    PUBLISH_NEW,   /* of a dry run: would be sent */
    PUBLISH_SAME,  /* the branch had it already */
    PUBLISH_KNOWN, /* the Hub had the bytes already: only named in the commit */
    PUBLISH_SENT
} PublishState;

typedef struct PublishFile {
    const char *path; /* relative to the package */
    uint64_t size;
    char sha256[SHA256_HEX];
    char git_oid[41]; /* of a regular file; "" before it is known */
    bool lfs;
    PublishState state;
    const char *same_as; /* an earlier file with the same bytes; NULL */
} PublishFile;

typedef struct PublishResult {
    size_t n_files;
    PublishFile *files; /* sorted by path */
    bool asked;       /* was the Hub asked what it has? (false in a dry run without a token or repository) */
    bool nothing_new; /* every file was there: no commit was made */
    char commit[65];  /* that holds the files; "" in a dry run */
    const char *pull_request; /* its URL; NULL */
    size_t n_warnings;
    const char **warnings; /* about the card, in the Hub's words */
    size_t n_others;
    const char **others; /* paths on the branch that the package doesn't have */
    uint64_t bytes_sent; /* of LFS files, in this run */
    Arena *arena;
} PublishResult;

/* Errors: ERR_CHECK (a file differs from the manifest, the branch moved, the Hub holds other bytes in the
 * end), ERR_FORMAT (not a package, a file that the manifest doesn't list, a card that the Hub refuses),
 * ERR_IO (no answer, no token, no right), ERR_INTERRUPTED. Nothing of the branch changes before the commit.
 * Caller closes. */
int publish(PublishResult **out, Hub *hub, const char *directory, const PublishOptions *options,
            Error *err) MUST_CHECK;
void publish_close(PublishResult *r); /* NULL-safe */

#endif
