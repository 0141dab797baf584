// SPDX-License-Identifier: Apache-2.0
#include "sim/disk.h"

#include <string.h>

#include "base/check.h"
#include "base/heap.h"
#include "base/mem.h"
#include "sim/disk_file.h"
#include "sim/disk_names.h"

enum { FILES_MAX = 1 << 16, HANDLES_MAX = 1 << 12, OPS_MAX = 1 << 12 };
static const int64_t SIZE_BYTES = 1LL << 40;

struct inode {
    struct disk_file file;
    int32_t open_count;
    int32_t locked_by; /* handle, or -1 */
    bool used;
};

struct handle {
    int32_t number; /* what the process knows; not used again, so that a stale one is noticed */
    int32_t inode;
    uint32_t flags;
};

/* One submitted op that has not completed. Syncs name the state they make durable when they are submitted; everything
 * else happens when it completes. */
struct flight {
    struct fs_op *op;
    int64_t due_ns;
    uint64_t mark;
    int64_t size_bytes;
    uint64_t last_change;
};

/* Who an fs was handed to. A crash ends all there are; their later calls do nothing. */
struct process {
    struct process *next;
    struct disk *disk;
    bool dead;
};

struct disk {
    struct disk_options options;
    struct process *processes;
    struct rng delays, fates;
    struct disk_names names;
    struct inode *inodes;
    int32_t inode_count;
    struct handle *handles; /* open ones, by number */
    int32_t handle_count;
    int32_t handle_next;
    struct flight flights[OPS_MAX];
    int32_t flight_count;
    struct waker waker;
    bool faulty;
    struct disk_fault fault;
    int64_t fault_seen;
    int64_t struck;
    int64_t stop_after; /* -1: never */
    int64_t changes;
};

static void disk_submit(void *ctx, struct fs_op *op);
static enum err disk_run(void *ctx, struct fs_op *op);

struct disk *disk_new(const struct disk_options *options)
{
    struct disk *disk = MEM_NEW(struct disk);
    disk->options = *options;
    if (disk->options.size_bytes <= 0) {
        disk->options.size_bytes = SIZE_BYTES;
    }
    struct rng rng;
    rng_init(&rng, options->seed);
    disk->delays = rng_fork(&rng);
    disk->fates = rng_fork(&rng);
    disk->inodes = MEM_NEW_ARRAY(struct inode, FILES_MAX);
    disk->handles = MEM_NEW_ARRAY(struct handle, HANDLES_MAX);
    disk->stop_after = -1;
    waker_init(&disk->waker);
    return disk;
}

void disk_free(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    for (int32_t i = 0; i < disk->inode_count; i++) {
        disk_file_release(&disk->inodes[i].file);
    }
    while (disk->processes != NULL) {
        struct process *next = disk->processes->next;
        mem_free(disk->processes);
        disk->processes = next;
    }
    disk_names_release(&disk->names);
    mem_free(disk->inodes);
    mem_free(disk->handles);
    mem_free(disk);
}

struct fs disk_fs(struct disk *disk)
{
    struct process *process = MEM_NEW(struct process);
    process->disk = disk;
    process->next = disk->processes;
    disk->processes = process;
    return (struct fs){.ctx = process, .submit = disk_submit, .run = disk_run};
}

struct waker *disk_waker(struct disk *disk)
{
    return &disk->waker;
}

/* ---- inodes and handles */

static void mark_named(const struct disk *disk, const struct disk_name_map *map, bool *ret_named)
{
    for (int32_t i = 0; i < map->count; i++) {
        if (map->names[i].inode >= 0) {
            CHECK(map->names[i].inode < disk->inode_count);
            ret_named[map->names[i].inode] = true;
        }
    }
}

/* Frees files that no name, now or after a power cut, and no handle leads to. */
static void sweep(struct disk *disk)
{
    bool *named = MEM_NEW_ARRAY(bool, disk->inode_count);
    mark_named(disk, &disk->names.live, named);
    mark_named(disk, &disk->names.durable, named);
    for (int32_t i = 0; i < disk->names.pending_count; i++) {
        for (int n = 0; n < 2; n++) {
            int32_t inode = disk->names.pending[i].inode[n];
            if (disk->names.pending[i].path[n] != NULL && inode >= 0) {
                named[inode] = true;
            }
        }
    }
    for (int32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i].used && !named[i] && disk->inodes[i].open_count == 0) {
            disk_file_release(&disk->inodes[i].file);
            disk->inodes[i].used = false;
        }
    }
    mem_free(named);
}

static int32_t new_inode(struct disk *disk)
{
    for (int32_t i = 0; i < disk->inode_count; i++) {
        if (!disk->inodes[i].used) {
            disk->inodes[i] = (struct inode){.used = true, .locked_by = -1};
            return i;
        }
    }
    CHECK(disk->inode_count < FILES_MAX);
    disk->inodes[disk->inode_count] = (struct inode){.used = true, .locked_by = -1};
    return disk->inode_count++;
}

static int32_t new_handle(struct disk *disk, int32_t inode, uint32_t flags)
{
    CHECK(disk->handle_count < HANDLES_MAX);
    disk->handles[disk->handle_count++] =
        (struct handle){.number = disk->handle_next, .inode = inode, .flags = flags};
    disk->inodes[inode].open_count++;
    return disk->handle_next++;
}

static struct handle *handle_of(struct disk *disk, struct fs_file file)
{
    int32_t low = 0;
    int32_t high = disk->handle_count;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (disk->handles[middle].number < file.fd) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    CHECK_MSG(low < disk->handle_count && disk->handles[low].number == file.fd,
              "file %d is not open", file.fd);
    return &disk->handles[low];
}

static struct inode *inode_of(struct disk *disk, const struct fs_op *op, uint32_t access)
{
    const struct handle *handle = handle_of(disk, op->file);
    CHECK_MSG((handle->flags & access) == access, "op %d is not what the file was opened for",
              op->kind);
    return &disk->inodes[handle->inode];
}

static void close_handle(struct disk *disk, struct handle *handle)
{
    struct inode *inode = &disk->inodes[handle->inode];
    if (inode->locked_by == handle->number) {
        inode->locked_by = -1;
    }
    inode->open_count--;
    disk->handle_count--;
    memmove(handle, handle + 1,
            (size_t)(disk->handles + disk->handle_count - handle) * sizeof(struct handle));
}

void disk_set_delays(struct disk *disk, int64_t sync_delay_ns, int64_t other_delay_ns)
{
    CHECK(sync_delay_ns >= 0 && other_delay_ns >= 0);
    disk->options.sync_delay_ns = sync_delay_ns;
    disk->options.other_delay_ns = other_delay_ns;
}

int64_t disk_used_bytes(const struct disk *disk)
{
    int64_t used_bytes = 0;
    bool *named = MEM_NEW_ARRAY(bool, disk->inode_count);
    mark_named(disk, &disk->names.live, named);
    for (int32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i].used && (named[i] || disk->inodes[i].open_count > 0)) {
            used_bytes += disk->inodes[i].file.size_bytes;
        }
    }
    mem_free(named);
    return used_bytes;
}

/* ---- ops */

static void fail(struct fs_op *op, enum err err, const char *what)
{
    op->err = err_set(&op->info, err, "%s%s%s", what, op->path != NULL ? " " : "",
                      op->path != NULL ? op->path : "");
}

static void do_open(struct disk *disk, struct fs_op *op)
{
    int32_t inode = disk_names_get(&disk->names, op->path);
    bool create = (op->flags & FS_O_CREATE) != 0;
    if (inode == DISK_FOLDER) {
        fail(op, ERR_IO, "open: is a folder:");
        return;
    }
    if (inode >= 0 && create && (op->flags & FS_O_EXCL) != 0) {
        fail(op, ERR_EXISTS, "open");
        return;
    }
    if (inode == DISK_NO_INODE) {
        if (!create || !disk_names_has_parent(&disk->names, op->path)) {
            fail(op, ERR_NOT_FOUND, "open");
            return;
        }
        inode = new_inode(disk);
        disk_names_change(&disk->names, op->path, inode, NULL, 0);
    }
    op->file.fd = new_handle(disk, inode, op->flags);
}

static void do_write(struct disk *disk, struct fs_op *op)
{
    struct inode *inode = inode_of(disk, op, FS_O_WRITE);
    ptrdiff_t len = op->len;
    int64_t end = op->offset + len;
    if (end > inode->file.size_bytes) {
        int64_t free_bytes = disk->options.size_bytes - disk_used_bytes(disk);
        int64_t over = end - inode->file.size_bytes - (free_bytes > 0 ? free_bytes : 0);
        if (over > 0) {
            len = over < len ? len - (ptrdiff_t)over : 0;
            fail(op, ERR_NO_SPACE, "write: the disk is full");
        }
    }
    disk_file_write(&inode->file, op->buf, len, op->offset, &disk->fates);
    op->done_bytes = len;
}

static void do_rename(struct disk *disk, struct fs_op *op)
{
    int32_t inode = disk_names_get(&disk->names, op->path);
    CHECK_MSG(inode != DISK_FOLDER, "rename %s: folders are not renamed here", op->path);
    if (inode == DISK_NO_INODE || !disk_names_has_parent(&disk->names, op->path_to)) {
        fail(op, ERR_NOT_FOUND, "rename");
    } else if (disk_names_get(&disk->names, op->path_to) == DISK_FOLDER) {
        fail(op, ERR_IO, "rename: the target is a folder:");
    } else if (strcmp(op->path, op->path_to) != 0) {
        disk_names_change(&disk->names, op->path, DISK_NO_INODE, op->path_to, inode);
    }
}

static void do_unlink(struct disk *disk, struct fs_op *op)
{
    int32_t inode = disk_names_get(&disk->names, op->path);
    if (inode < 0) {
        fail(op, inode == DISK_FOLDER ? ERR_IO : ERR_NOT_FOUND, "unlink");
        return;
    }
    disk_names_change(&disk->names, op->path, DISK_NO_INODE, NULL, 0);
}

static void do_mkdir(struct disk *disk, struct fs_op *op)
{
    int32_t inode = disk_names_get(&disk->names, op->path);
    if (inode >= 0) {
        fail(op, ERR_EXISTS, "make folder: a file is there:");
    } else if (inode == DISK_NO_INODE && !disk_names_has_parent(&disk->names, op->path)) {
        fail(op, ERR_NOT_FOUND, "make folder");
    } else if (inode == DISK_NO_INODE) {
        disk_names_change(&disk->names, op->path, DISK_FOLDER, NULL, 0);
    }
}

static void do_rmdir(struct disk *disk, struct fs_op *op)
{
    if (disk_names_get(&disk->names, op->path) != DISK_FOLDER) {
        fail(op, ERR_NOT_FOUND, "remove folder");
    } else if (!disk_names_empty(&disk->names, op->path)) {
        fail(op, ERR_EXISTS, "remove folder: not empty:");
    } else {
        disk_names_change(&disk->names, op->path, DISK_NO_INODE, NULL, 0);
    }
}

static void do_list(const struct disk *disk, struct fs_op *op)
{
    if (disk_names_get(&disk->names, op->path) != DISK_FOLDER) {
        fail(op, ERR_NOT_FOUND, "list");
        return;
    }
    char *buf = op->buf;
    for (int32_t i = 0; i < disk->names.live.count; i++) {
        const char *name = disk_names_within(disk->names.live.names[i].path, op->path);
        if (name == NULL) {
            continue;
        }
        ptrdiff_t bytes = (ptrdiff_t)strlen(name) + 1;
        if (bytes > op->len - op->done_bytes) {
            fail(op, ERR_LIMIT, "list: the names do not fit:");
            return;
        }
        memcpy(buf + op->done_bytes, name, (size_t)bytes);
        op->done_bytes += bytes;
    }
}

static void do_lock(struct disk *disk, struct fs_op *op)
{
    struct inode *inode = inode_of(disk, op, 0);
    if (inode->locked_by >= 0 && inode->locked_by != op->file.fd) {
        fail(op, ERR_BUSY, "lock: another process holds it");
        return;
    }
    inode->locked_by = op->file.fd;
}

/* Syncs in two halves: what they promise is fixed when they are submitted. */
static void sync_begin(struct disk *disk, struct flight *flight)
{
    struct fs_op *op = flight->op;
    if (op->kind == FS_SYNC) {
        struct inode *inode = inode_of(disk, op, 0);
        flight->mark = disk_file_sync_begin(&inode->file);
        flight->size_bytes = inode->file.size_bytes;
    } else if (op->kind == FS_SYNC_DIR) {
        flight->last_change = disk->names.changes;
    }
}

static void sync_dir_end(struct disk *disk, struct flight *flight)
{
    if (disk_names_get(&disk->names, flight->op->path) != DISK_FOLDER) {
        fail(flight->op, ERR_NOT_FOUND, "sync folder");
        return;
    }
    disk_names_sync(&disk->names, flight->op->path, flight->last_change);
    sweep(disk);
}

static void perform_named(struct disk *disk, struct flight *flight)
{
    struct fs_op *op = flight->op;
    bool valid = fs_path_valid(op->path) && (op->kind != FS_RENAME || fs_path_valid(op->path_to));
    if (!valid) {
        fail(op, ERR_INVALID, "the path leaves the root or is malformed:");
        return;
    }
    switch (op->kind) {
    case FS_OPEN:
        do_open(disk, op);
        break;
    case FS_RENAME:
        do_rename(disk, op);
        break;
    case FS_UNLINK:
        do_unlink(disk, op);
        break;
    case FS_MKDIR:
        do_mkdir(disk, op);
        break;
    case FS_RMDIR:
        do_rmdir(disk, op);
        break;
    case FS_SYNC_DIR:
        sync_dir_end(disk, flight);
        break;
    case FS_LIST:
        do_list(disk, op);
        break;
    case FS_CLOSE:
    case FS_READ:
    case FS_WRITE:
    case FS_SYNC:
    case FS_WRITE_OUT:
    case FS_TRUNCATE:
    case FS_STAT:
    case FS_LOCK:
    case FS_FREE_SPACE:
    default:
        CHECK_MSG(false, "no op of names: %d", op->kind);
    }
}

static void perform_file(struct disk *disk, struct flight *flight)
{
    struct fs_op *op = flight->op;
    switch (op->kind) {
    case FS_CLOSE:
        close_handle(disk, handle_of(disk, op->file));
        op->file.fd = -1;
        sweep(disk);
        break;
    case FS_READ:
        op->done_bytes =
            disk_file_read(&inode_of(disk, op, FS_O_READ)->file, op->buf, op->len, op->offset);
        break;
    case FS_WRITE:
        do_write(disk, op);
        break;
    case FS_SYNC:
        disk_file_sync_end(&inode_of(disk, op, 0)->file, flight->mark, flight->size_bytes);
        break;
    case FS_WRITE_OUT: /* a power cut draws what has arrived, with or without it */
        break;
    case FS_TRUNCATE:
        disk_file_truncate(&inode_of(disk, op, FS_O_WRITE)->file, op->offset, &disk->fates);
        break;
    case FS_STAT:
        op->size_bytes = inode_of(disk, op, 0)->file.size_bytes;
        break;
    case FS_LOCK:
        do_lock(disk, op);
        break;
    case FS_FREE_SPACE:
        op->size_bytes = disk->options.size_bytes - disk_used_bytes(disk);
        op->size_bytes = op->size_bytes > 0 ? op->size_bytes : 0;
        break;
    case FS_OPEN:
    case FS_RENAME:
    case FS_UNLINK:
    case FS_MKDIR:
    case FS_RMDIR:
    case FS_SYNC_DIR:
    case FS_LIST:
    default:
        CHECK_MSG(false, "no op of files: %d", op->kind);
    }
}

static bool takes_path(enum fs_kind kind)
{
    return kind == FS_OPEN || kind == FS_RENAME || kind == FS_UNLINK || kind == FS_MKDIR ||
           kind == FS_RMDIR || kind == FS_SYNC_DIR || kind == FS_LIST;
}

static bool changes_something(const struct fs_op *op)
{
    switch (op->kind) {
    case FS_OPEN:
        return (op->flags & FS_O_CREATE) != 0;
    case FS_WRITE:
    case FS_SYNC:
    case FS_TRUNCATE:
    case FS_RENAME:
    case FS_UNLINK:
    case FS_MKDIR:
    case FS_RMDIR:
    case FS_SYNC_DIR:
        return true;
    case FS_CLOSE:
    case FS_READ:
    case FS_WRITE_OUT:
    case FS_STAT:
    case FS_LIST:
    case FS_LOCK:
    case FS_FREE_SPACE:
    default:
        return false;
    }
}

static bool fault_strikes(struct disk *disk, const struct fs_op *op)
{
    if (!disk->faulty || disk->fault.kind != op->kind) {
        return false;
    }
    disk->fault_seen++;
    return disk->fault_seen == disk->fault.nth ||
           (disk->fault.persistent && disk->fault_seen > disk->fault.nth);
}

/* Writes the first part of an op's bytes, as happens when a process is killed or a device fails in the middle. Kernels
 * copy by pages and look for a reason to stop between two, so the part ends at a page's border. */
static void write_part(struct disk *disk, const struct fs_op *op)
{
    int64_t end = op->offset + rng_range(&disk->fates, 0, op->len);
    end -= end % DISK_CHUNK;
    struct inode *inode = inode_of(disk, op, FS_O_WRITE);
    if (end > op->offset) {
        disk_file_write(&inode->file, op->buf, (ptrdiff_t)(end - op->offset), op->offset,
                        &disk->fates);
    }
}

static void strike(struct disk *disk, struct flight *flight, enum err err, const char *what)
{
    struct fs_op *op = flight->op;
    if (op->kind == FS_SYNC) {
        disk_file_sync_fail(&inode_of(disk, op, 0)->file, flight->mark, &disk->fates);
    }
    fail(op, err, what);
}

/* The op happens. */
static void perform(struct disk *disk, struct flight *flight)
{
    struct fs_op *op = flight->op;
    op->err = ERR_OK;
    op->done_bytes = 0;
    bool change = changes_something(op);
    if (change && disk->stop_after >= 0 && disk->changes >= disk->stop_after) {
        strike(disk, flight, ERR_IO, "the disk has stopped");
        return;
    }
    disk->changes += change;
    if (fault_strikes(disk, op)) {
        disk->struck++;
        if (op->kind == FS_WRITE && disk->fault.partial) {
            write_part(disk, op);
        }
        strike(disk, flight, disk->fault.err, "an injected fault");
    } else if (takes_path(op->kind)) {
        perform_named(disk, flight);
    } else {
        perform_file(disk, flight);
    }
}

/* A dead process closes its files in vain; whatever else it tries fails. */
static void perform_dead(struct fs_op *op)
{
    op->err = ERR_OK;
    op->done_bytes = 0;
    if (op->kind != FS_CLOSE) {
        fail(op, ERR_IO, "the process is dead");
    }
    op->file.fd = -1;
}

static enum err disk_run(void *ctx, struct fs_op *op)
{
    struct process *process = ctx;
    struct disk *disk = process->disk;
    if (process->dead) {
        perform_dead(op);
        return op->err;
    }
    struct flight flight = {.op = op};
    struct heap *before = heap_use(NULL); /* a disk outlives whoever writes to it */
    sync_begin(disk, &flight);
    perform(disk, &flight);
    IGNORE_RESULT(heap_use(before)); /* the caller's */
    return op->err;
}

/* ---- submit, then completion */

static int64_t draw_delay(struct disk *disk, enum fs_kind kind)
{
    int64_t mean_ns = kind == FS_SYNC || kind == FS_SYNC_DIR ? disk->options.sync_delay_ns
                                                             : disk->options.other_delay_ns;
    double delay_ns = (double)mean_ns * rng_exponential(&disk->delays);
    return (int64_t)(rng_chance(&disk->delays, 0.01) ? 20 * delay_ns : delay_ns);
}

static void disk_submit(void *ctx, struct fs_op *op)
{
    struct process *process = ctx;
    struct disk *disk = process->disk;
    if (process->dead) {
        perform_dead(op);
        mailbox_push(op->done, &op->msg);
        return;
    }
    int64_t delay_ns = disk->options.clock != NULL ? draw_delay(disk, op->kind) : 0;
    struct flight flight = {.op = op};
    struct heap *before = heap_use(NULL); /* as in disk_run */
    sync_begin(disk, &flight);
    if (delay_ns == 0) {
        perform(disk, &flight);
    }
    IGNORE_RESULT(heap_use(before));
    if (delay_ns == 0) {
        mailbox_push(op->done, &op->msg);
        return;
    }
    CHECK(disk->flight_count < OPS_MAX);
    flight.due_ns = clock_now_ns(disk->options.clock) + delay_ns;
    disk->flights[disk->flight_count++] = flight;
    waker_wake(&disk->waker);
}

/* The op that is due first; of those due at once the one submitted first. */
static int32_t first_due(const struct disk *disk)
{
    int32_t first = -1;
    for (int32_t i = 0; i < disk->flight_count; i++) {
        if (first < 0 || disk->flights[i].due_ns < disk->flights[first].due_ns) {
            first = i;
        }
    }
    return first;
}

static void remove_flight(struct disk *disk, int32_t at)
{
    disk->flight_count--;
    memmove(&disk->flights[at], &disk->flights[at + 1],
            (size_t)(disk->flight_count - at) * sizeof(struct flight));
}

int64_t disk_step(void *ctx, int64_t now_ns)
{
    struct disk *disk = ctx;
    for (;;) {
        int32_t at = first_due(disk);
        if (at < 0) {
            return CLOCK_NEVER;
        }
        if (disk->flights[at].due_ns > now_ns) {
            return disk->flights[at].due_ns;
        }
        struct flight flight = disk->flights[at];
        remove_flight(disk, at);
        perform(disk, &flight);
        mailbox_push(flight.op->done, &flight.op->msg);
    }
}

int disk_in_flight(const struct disk *disk)
{
    return disk->flight_count;
}

/* ---- crashes and faults */

/* Of the ops in flight some have happened, some have not, some half. */
static void land_flights(struct disk *disk)
{
    for (int32_t i = 0; i < disk->flight_count; i++) {
        struct flight *flight = &disk->flights[i];
        bool happened = rng_chance(&disk->fates, 0.4);
        if (flight->op->kind == FS_WRITE && !happened) {
            write_part(disk, flight->op);
        } else if (happened && flight->op->kind != FS_READ && flight->op->kind != FS_LIST &&
                   flight->op->kind != FS_CLOSE) {
            perform(disk, flight);
        }
    }
    disk->flight_count = 0;
    for (int32_t i = 0; i < disk->inode_count; i++) {
        disk->inodes[i].file.syncs_in_flight = 0;
    }
}

static void end_processes(struct disk *disk)
{
    land_flights(disk);
    for (struct process *process = disk->processes; process != NULL; process = process->next) {
        process->dead = true;
    }
    while (disk->handle_count > 0) {
        close_handle(disk, &disk->handles[disk->handle_count - 1]);
    }
    disk->faulty = false;
    disk->stop_after = -1;
}

static void process_kill(struct disk *disk)
{
    end_processes(disk);
    sweep(disk);
}

void disk_process_kill(struct disk *disk)
{
    struct heap *before =
        heap_use(NULL); /* a crash point may lie in the step of whoever has a heap */
    process_kill(disk);
    IGNORE_RESULT(heap_use(before)); /* the caller's */
}

static void power_cut(struct disk *disk)
{
    end_processes(disk);
    disk_names_power_cut(&disk->names, &disk->fates);
    for (int32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i].used) {
            disk_file_power_cut(&disk->inodes[i].file, &disk->fates);
        }
    }
    sweep(disk);
}

void disk_power_cut(struct disk *disk)
{
    struct heap *before =
        heap_use(NULL); /* a crash point may lie in the step of whoever has a heap */
    power_cut(disk);
    IGNORE_RESULT(heap_use(before)); /* the caller's */
}

void disk_set_size(struct disk *disk, int64_t size_bytes)
{
    disk->options.size_bytes = size_bytes;
}

void disk_set_fault(struct disk *disk, const struct disk_fault *fault)
{
    CHECK(fault->nth >= 1 && fault->err != ERR_OK);
    disk->faulty = true;
    disk->fault = *fault;
    disk->fault_seen = 0;
}

int64_t disk_faults_struck(const struct disk *disk)
{
    return disk->struck;
}

void disk_stop_after(struct disk *disk, int64_t n)
{
    disk->stop_after = n < 0 ? -1 : disk->changes + n;
}

int64_t disk_changes(const struct disk *disk)
{
    return disk->changes;
}

enum err disk_corrupt(struct disk *disk, const char *path, int64_t offset, int64_t len)
{
    int32_t inode = disk_names_get(&disk->names, path);
    if (inode < 0) {
        return ERR_NOT_FOUND;
    }
    disk_file_corrupt(&disk->inodes[inode].file, offset, len);
    return ERR_OK;
}
