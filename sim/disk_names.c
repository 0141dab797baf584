// SPDX-License-Identifier: Apache-2.0
#include "sim/disk_names.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static char *copy_of(const char *path)
{
    return mem_dup(path, (ptrdiff_t)strlen(path));
}

static bool is_root(const char *path)
{
    return path[0] == 0 || strcmp(path, ".") == 0;
}

static struct disk_name *find(const struct disk_name_map *map, const char *path)
{
    for (int32_t i = 0; i < map->count; i++) {
        if (strcmp(map->names[i].path, path) == 0) {
            return &map->names[i];
        }
    }
    return NULL;
}

static void drop(struct disk_name_map *map, struct disk_name *name)
{
    mem_free(name->path);
    *name = map->names[--map->count];
}

static void set(struct disk_name_map *map, const char *path, int32_t inode)
{
    struct disk_name *name = find(map, path);
    if (name != NULL && inode == DISK_NO_INODE) {
        drop(map, name);
    } else if (name != NULL) {
        name->inode = inode;
    } else if (inode != DISK_NO_INODE) {
        if (map->count == map->cap) {
            map->cap = map->cap > 0 ? 2 * map->cap : 16;
            map->names = mem_resize(map->names, map->cap, (ptrdiff_t)sizeof(struct disk_name));
        }
        map->names[map->count++] = (struct disk_name){.path = copy_of(path), .inode = inode};
    }
}

static void release_map(struct disk_name_map *map)
{
    for (int32_t i = 0; i < map->count; i++) {
        mem_free(map->names[i].path);
    }
    mem_free(map->names);
    *map = (struct disk_name_map){0};
}

static void release_change(struct disk_change *change)
{
    mem_free(change->path[0]);
    mem_free(change->path[1]);
}

void disk_names_release(struct disk_names *names)
{
    release_map(&names->live);
    release_map(&names->durable);
    for (int32_t i = 0; i < names->pending_count; i++) {
        release_change(&names->pending[i]);
    }
    mem_free(names->pending);
    *names = (struct disk_names){0};
}

static int32_t get(const struct disk_name_map *map, const char *path)
{
    if (is_root(path)) {
        return DISK_FOLDER;
    }
    const struct disk_name *name = find(map, path);
    return name != NULL ? name->inode : DISK_NO_INODE;
}

int32_t disk_names_get(const struct disk_names *names, const char *path)
{
    return get(&names->live, path);
}

static void apply(struct disk_name_map *map, const struct disk_change *change)
{
    for (int i = 0; i < 2 && change->path[i] != NULL; i++) {
        set(map, change->path[i], change->inode[i]);
    }
}

void disk_names_change(struct disk_names *names, const char *path_a, int32_t inode_a,
                       const char *path_b, int32_t inode_b)
{
    if (names->pending_count == names->pending_cap) {
        names->pending_cap = names->pending_cap > 0 ? 2 * names->pending_cap : 16;
        names->pending =
            mem_resize(names->pending, names->pending_cap, (ptrdiff_t)sizeof(struct disk_change));
    }
    struct disk_change *change = &names->pending[names->pending_count++];
    *change = (struct disk_change){
        .number = ++names->changes,
        .path = {copy_of(path_a), path_b != NULL ? copy_of(path_b) : NULL},
        .inode = {inode_a, inode_b},
    };
    apply(&names->live, change);
}

const char *disk_names_within(const char *path, const char *folder)
{
    size_t len = is_root(folder) ? 0 : strlen(folder);
    if (len > 0 && (strncmp(path, folder, len) != 0 || path[len] != '/')) {
        return NULL;
    }
    const char *rest = path + (len > 0 ? len + 1 : 0);
    return strchr(rest, '/') == NULL ? rest : NULL;
}

static bool has_parent(const struct disk_name_map *map, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return true;
    }
    char *parent = mem_dup(path, slash - path);
    bool there = get(map, parent) == DISK_FOLDER;
    mem_free(parent);
    return there;
}

bool disk_names_has_parent(const struct disk_names *names, const char *path)
{
    return has_parent(&names->live, path);
}

bool disk_names_empty(const struct disk_names *names, const char *folder)
{
    for (int32_t i = 0; i < names->live.count; i++) {
        if (disk_names_within(names->live.names[i].path, folder) != NULL) {
            return false;
        }
    }
    return true;
}

/* A rename between folders is durable once either is synced, as in a journal. */
static bool concerns(const struct disk_change *change, const char *folder)
{
    return disk_names_within(change->path[0], folder) != NULL ||
           (change->path[1] != NULL && disk_names_within(change->path[1], folder) != NULL);
}

void disk_names_sync(struct disk_names *names, const char *folder, uint64_t last)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < names->pending_count; i++) {
        struct disk_change *change = &names->pending[i];
        if (change->number <= last && concerns(change, folder)) {
            apply(&names->durable, change);
            release_change(change);
        } else {
            names->pending[kept++] = *change;
        }
    }
    names->pending_count = kept;
}

/* Names whose folder is not there are lost with it. */
static void drop_orphans(struct disk_name_map *map)
{
    for (int32_t i = 0; i < map->count;) {
        if (has_parent(map, map->names[i].path)) {
            i++;
        } else {
            drop(map, &map->names[i]);
            i = 0; /* a folder that goes takes more with it */
        }
    }
}

void disk_names_power_cut(struct disk_names *names, struct rng *rng)
{
    /* A journal keeps the first ones; other file systems keep any. */
    bool journal = rng_chance(rng, 0.5);
    int64_t first = rng_range(rng, 0, names->pending_count);
    double keep = rng_unit(rng);
    for (int32_t i = 0; i < names->pending_count; i++) {
        struct disk_change *change = &names->pending[i];
        if (journal ? i < first : rng_chance(rng, keep)) {
            apply(&names->durable, change);
        }
        release_change(change);
    }
    names->pending_count = 0;
    drop_orphans(&names->durable);
    release_map(&names->live);
    for (int32_t i = 0; i < names->durable.count; i++) {
        set(&names->live, names->durable.names[i].path, names->durable.names[i].inode);
    }
}
