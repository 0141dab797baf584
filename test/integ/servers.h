// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_INTEG_SERVERS_H
#define TEST_INTEG_SERVERS_H

#include <stdbool.h>
#include <sys/types.h>

/* Servers for tests: Debian's redis-server and memcached, and one that is neither; each on a free port of the loopback, each
 * ended with the test whatever happens. */

struct server {
    pid_t pid; /* -1: not running */
    int port;
    char line[1024]; /* how it is started, for a restart on the same port */
};

/* A port of the loopback that nobody listens on, and that is given to nobody else until the process ends. */
int free_port(void);

/* Start it and wait until it answers, at most half a minute: CHECKed. `more`: further arguments, or "". */
void redis_start(struct server *server, const char *more);
void redis_start_tls(struct server *server, const char *folder); /* with files of tls_files() */
void memcached_start(struct server *server, const char *more);

/* kill -9, and gone. Nothing if it is not running. */
void server_kill(struct server *server);

/* Again, empty, on the same port. */
void server_restart(struct server *server);

/* SIGSTOP, SIGCONT. */
void server_pause(const struct server *server);
void server_resume(const struct server *server);

/* Sends a line of the server's own protocol, returns the first bytes of the answer (static, 0-terminated). */
const char *server_ask(const struct server *server, const char *line);

/* Makes ca.pem, server.pem, server.key (for 127.0.0.1 and the name cache.test) in a folder below test_dir(). */
void tls_files(char ret_folder[512]);

/* --- a server of bad manners --- */

enum manners {
    MANNERS_SILENT, /* takes connections, never answers */
    MANNERS_SAYS,   /* answers everything with the same bytes */
    MANNERS_RESETS, /* takes some bytes, then breaks off */
    MANNERS_DRIPS   /* answers a byte a time, slowly, without end */
};

struct rude_server;

/* `text` of MANNERS_SAYS: kept. */
struct rude_server *rude_start(enum manners manners, const char *text, int port);
void rude_stop(struct rude_server *server);

#endif
