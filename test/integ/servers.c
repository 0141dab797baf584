// SPDX-License-Identifier: Apache-2.0
#include "servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "test.h"

enum { START_TRIES = 3000, TRY_MS = 10, ANSWER_MS = 5000, RUDE_CONNS_MAX = 64 };

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* A socket at that port, 0: at one that nobody has, that listens to nobody yet. */
static int bind_to(int port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

static int listen_on(int port)
{
    int fd = bind_to(port);
    CHECK(listen(fd, 16) == 0);
    return fd;
}

/* The socket stays open, bound and deaf, until the process ends: the kernel gives its port to nobody who asks for any, connections to
 * it are refused, and who names the port may listen there (SO_REUSEADDR: socket(7)). */
int free_port(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    int fd = bind_to(0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    return ntohs(address.sin_port);
}

static int connect_to(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        CHECK(close(fd) == 0);
        return -1;
    }
    return fd;
}

/* --- real servers --- */

static void spawn(struct server *server)
{
    server->pid = fork();
    CHECK(server->pid >= 0);
    if (server->pid == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        execl("/bin/sh", "sh", "-c", server->line, (char *)NULL);
        _exit(127);
    }
}

/* Until something takes connections there. */
static void await(const struct server *server)
{
    for (int i = 0; i < START_TRIES; i++) {
        int fd = connect_to(server->port);
        if (fd >= 0) {
            CHECK(close(fd) == 0);
            return;
        }
        int status = 0;
        CHECK_MSG(waitpid(server->pid, &status, WNOHANG) == 0, "it ended: %s", server->line);
        IGNORE_RESULT(poll(NULL, 0, TRY_MS)); /* a pause between two looks */
    }
    CHECK_MSG(false, "no answer: %s", server->line);
}

static void start(struct server *server)
{
    spawn(server);
    await(server);
}

void redis_start(struct server *server, const char *more)
{
    server->port = free_port();
    int n = snprintf(server->line, sizeof(server->line),
                     "exec redis-server --port %d --bind 127.0.0.1 --save '' --appendonly no "
                     "--daemonize no --dir %s %s >>%s/redis.log 2>&1",
                     server->port, test_dir(), more, test_dir());
    CHECK(n > 0 && n < (int)sizeof(server->line));
    start(server);
}

void redis_start_tls(struct server *server, const char *folder)
{
    server->port = free_port();
    int n = snprintf(server->line, sizeof(server->line),
                     "exec redis-server --port 0 --tls-port %d --bind 127.0.0.1 --save '' "
                     "--daemonize no --dir %s --tls-cert-file %s/server.pem --tls-key-file "
                     "%s/server.key --tls-ca-cert-file %s/ca.pem --tls-auth-clients no "
                     ">>%s/redis.log 2>&1",
                     server->port, test_dir(), folder, folder, folder, test_dir());
    CHECK(n > 0 && n < (int)sizeof(server->line));
    start(server);
}

void memcached_start(struct server *server, const char *more)
{
    server->port = free_port();
    int n = snprintf(server->line, sizeof(server->line),
                     "exec memcached -l 127.0.0.1 -p %d -U 0 -u nobody %s >>%s/memcached.log 2>&1",
                     server->port, more, test_dir());
    CHECK(n > 0 && n < (int)sizeof(server->line));
    start(server);
}

void server_kill(struct server *server)
{
    int status = 0;
    if (server->pid > 0) {
        CHECK(kill(server->pid, SIGKILL) == 0 && waitpid(server->pid, &status, 0) == server->pid);
        server->pid = -1;
    }
}

void server_restart(struct server *server)
{
    server_kill(server);
    start(server);
}

void server_pause(const struct server *server)
{
    int status;
    CHECK(kill(server->pid, SIGSTOP) == 0);
    CHECK(waitpid(server->pid, &status, WUNTRACED) == server->pid &&
          WIFSTOPPED(status)); /* all its threads */
}

void server_resume(const struct server *server)
{
    CHECK(kill(server->pid, SIGCONT) == 0);
}

const char *server_ask(const struct server *server, const char *line)
{
    static char answer[4096];
    int fd = connect_to(server->port);
    CHECK(fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line));
    CHECK(write(fd, "\r\n", 2) == 2);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    CHECK(poll(&wait, 1, ANSWER_MS) == 1);
    ssize_t n = read(fd, answer, sizeof(answer) - 1);
    CHECK(n > 0 && close(fd) == 0);
    answer[n] = 0;
    return answer;
}

void tls_files(char ret_folder[512])
{
    char line[4096];
    int n = snprintf(ret_folder, 512, "%s/tls", test_dir());
    CHECK(n > 0 && n < 512);
    n = snprintf(
        line, sizeof(line),
        "mkdir -p %s && cd %s && exec >log 2>&1 && "
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=test-ca -keyout ca.key -out ca.pem && "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=cache.test "
        "-keyout server.key -out server.csr && "
        "printf 'subjectAltName=IP:127.0.0.1,DNS:cache.test' >san && "
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
        "-extfile san -out server.pem",
        ret_folder, ret_folder);
    CHECK(n > 0 && n < (int)sizeof(line));
    CHECK(system(line) == 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe): our own fixed line
}

/* --- a server of bad manners --- */

struct rude_server {
    enum manners manners;
    const char *text;
    int listener;
    int conns[RUDE_CONNS_MAX];
    int count;
    _Atomic bool stop;
    pthread_t thread;
};

static void drop_conn(struct rude_server *server, int i, bool reset)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (reset) {
        CHECK(setsockopt(server->conns[i], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) == 0);
    }
    CHECK(close(server->conns[i]) == 0);
    server->conns[i] = server->conns[--server->count];
}

/* Something has come on a connection, or its end. */
static void be_rude(struct rude_server *server, int i)
{
    char buf[8192];
    ssize_t n = recv(server->conns[i], buf, sizeof(buf), 0);
    if (n <= 0) {
        drop_conn(server, i, false);
    } else if (server->manners == MANNERS_RESETS) {
        drop_conn(server, i, true);
    } else if (server->manners == MANNERS_SAYS) {
        IGNORE_RESULT(send(server->conns[i], server->text, strlen(server->text), MSG_NOSIGNAL));
    }
}

static void *run_rude(void *arg)
{
    struct rude_server *server = arg;
    while (!atomic_load(&server->stop)) {
        struct pollfd fds[RUDE_CONNS_MAX + 1];
        int count = server->count;
        fds[count] = (struct pollfd){.fd = server->listener, .events = POLLIN};
        for (int i = 0; i < count; i++) {
            fds[i] = (struct pollfd){.fd = server->conns[i], .events = POLLIN};
        }
        int ready = poll(fds, (nfds_t)count + 1, TRY_MS);
        for (int i = count - 1; i >= 0; i--) {
            if (ready > 0 && (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
                be_rude(server, i);
            } else if (server->manners == MANNERS_DRIPS) {
                IGNORE_RESULT(send(server->conns[i], "x", 1, MSG_NOSIGNAL)); /* gone: seen next */
            }
        }
        if (ready > 0 && (fds[count].revents & POLLIN) != 0 && server->count < RUDE_CONNS_MAX) {
            int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0) {
                server->conns[server->count++] = fd;
            }
        }
    }
    return NULL;
}

struct rude_server *rude_start(enum manners manners, const char *text, int port)
{
    struct rude_server *server = MEM_NEW(struct rude_server);
    server->manners = manners;
    server->text = text;
    server->listener = listen_on(port);
    CHECK(pthread_create(&server->thread, NULL, run_rude, server) == 0);
    return server;
}

void rude_stop(struct rude_server *server)
{
    atomic_store(&server->stop, true);
    CHECK(pthread_join(server->thread, NULL) == 0);
    while (server->count > 0) {
        drop_conn(server, server->count - 1, false);
    }
    CHECK(close(server->listener) == 0);
    mem_free(server);
}
