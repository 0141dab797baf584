// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_DISK_NAMES_H
#define SIM_DISK_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fs.h"
#include "base/rng.h"

/* Which names there are (live), which would be left (durable), and the changes between the two in their order. A name
 * is a whole path; what it stands for is an inode's number. disk.h D3 is kept here. */

enum { DISK_NO_INODE = -1, DISK_FOLDER = -2 };

struct disk_name {
    char *path;
    int32_t inode; /* DISK_FOLDER: a folder */
};

struct disk_name_map { /* unordered: few files */
    struct disk_name *names;
    int32_t count, cap;
};

/* One change, whole or not at all: up to two names get a new meaning. */
struct disk_change {
    uint64_t number;
    char *path[2];    /* [1] NULL: one name */
    int32_t inode[2]; /* DISK_NO_INODE: the name is gone */
};

struct disk_names {
    struct disk_name_map live, durable;
    struct disk_change *pending; /* since the last sync of their folder, in order */
    int32_t pending_count, pending_cap;
    uint64_t changes; /* number of the last change */
};

void disk_names_release(struct disk_names *names);

/* What a live name stands for: an inode, DISK_FOLDER, or DISK_NO_INODE. The root is a folder. */
int32_t disk_names_get(const struct disk_names *names, const char *path);

/* Makes a change to the live names. `path_b` may be NULL. */
void disk_names_change(struct disk_names *names, const char *path_a, int32_t inode_a,
                       const char *path_b, int32_t inode_b);

/* Whether the folder that `path` lies in exists. */
bool disk_names_has_parent(const struct disk_names *names, const char *path);

/* Whether a folder has no names in it. */
bool disk_names_empty(const struct disk_names *names, const char *folder);

/* Makes the folder's changes up to number `last` durable. A sync covers what stood when it was submitted. */
void disk_names_sync(struct disk_names *names, const char *folder, uint64_t last);

/* After a power cut: durable names plus some of the changes; live = durable. */
void disk_names_power_cut(struct disk_names *names, struct rng *rng);

/* The part of `path` behind `folder`, if it lies directly in it; else NULL. */
const char *disk_names_within(const char *path, const char *folder);

#endif
