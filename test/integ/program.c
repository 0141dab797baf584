// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "raw_http.h"
#include "test.h"

enum { START_SECONDS = 120, RUN_SECONDS = 300 };

static const char *program_path(void)
{
    static char absolute[4096];
    const char *path = getenv("SHADOWCAST");
    path = path != NULL ? path : "build/release/src/app/shadowcast";
    CHECK_MSG(realpath(path, absolute) != NULL, "no program at %s", path);
    return absolute;
}

static double seconds_now(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void path_in_dir(char *buf, size_t cap, const char *name)
{
    int n = snprintf(buf, cap, "%s/%s", test_dir(), name);
    CHECK(n > 0 && n < (int)cap);
}

void program_write(const char *name, const char *text)
{
    char path[512];
    path_in_dir(path, sizeof(path), name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void read_file(const char *name, char *buf, size_t cap)
{
    char path[512];
    path_in_dir(path, sizeof(path), name);
    buf[0] = 0;
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        size_t n = fread(buf, 1, cap - 1, file);
        buf[n] = 0;
        CHECK(fclose(file) == 0);
    }
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Waits for `pid` with a deadline, then kills it. */
static int await(pid_t pid, double seconds)
{
    double deadline = seconds_now() + seconds;
    int status = 0;
    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        CHECK(got >= 0);
        if (got == pid) {
            return code_of(status);
        }
        if (seconds_now() > deadline) {
            CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
            return code_of(status);
        }
        IGNORE_RESULT(poll(NULL, 0, 5)); /* a pause between two looks, bounded by the deadline */
    }
}

/* In a child: a test that fails before it stops its program must not leave it running. */
static void end_with_parent(void)
{
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
}

void program_run(const char *line, const char *input, struct result *ret_result)
{
    char command[4096];
    program_write("stdin", input != NULL ? input : "");
    int n = snprintf(command, sizeof(command),
                     "cd %s && SC='%s' && export SC && { %s\n} <stdin >stdout 2>stderr", test_dir(),
                     program_path(), line);
    CHECK(n > 0 && n < (int)sizeof(command));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        end_with_parent();
        execl("/bin/bash", "bash", "-c", command, (char *)NULL);
        _exit(127);
    }
    ret_result->code = await(pid, RUN_SECONDS);
    read_file("stdout", ret_result->out, sizeof(ret_result->out));
    read_file("stderr", ret_result->err, sizeof(ret_result->err));
}

static bool find_process(const char *data, struct running *running)
{
    char name[300];
    char url[128];
    char token[128];
    IGNORE_RESULT(snprintf(name, sizeof(name), "%s/api", data));
    read_file(name, url, sizeof(url));
    IGNORE_RESULT(snprintf(name, sizeof(name), "%s/token", data));
    read_file(name, token, sizeof(token));
    const char *colon = strrchr(url, ':');
    if (colon == NULL || strlen(token) < 64) {
        return false;
    }
    running->port = (int)strtol(colon + 1, NULL, 10);
    memcpy(running->token, token, 64);
    running->token[64] = 0;
    return true;
}

void program_start(const char *file, const char *data, const char *args,
                   struct running *ret_running)
{
    char command[4096];
    char api[512];
    static struct raw_reply reply;
    *ret_running = (struct running){.pid = -1};
    IGNORE_RESULT(snprintf(ret_running->data, sizeof(ret_running->data), "%s", data));
    IGNORE_RESULT(snprintf(api, sizeof(api), "%s/%s/api", test_dir(), data));
    IGNORE_RESULT(unlink(api)); /* what a killed process left */
    int n = snprintf(command, sizeof(command),
                     "cd %s && exec '%s' run %s --data %s --listen 0 %s 2>>%s.log", test_dir(),
                     program_path(), file, data, args, data);
    CHECK(n > 0 && n < (int)sizeof(command));
    ret_running->pid = fork();
    CHECK(ret_running->pid >= 0);
    if (ret_running->pid == 0) {
        end_with_parent();
        execl("/bin/bash", "bash", "-c", command, (char *)NULL);
        _exit(127);
    }
    double deadline = seconds_now() + START_SECONDS;
    bool ready = false;
    while (!ready && seconds_now() < deadline) {
        int status = 0;
        CHECK_MSG(waitpid(ret_running->pid, &status, WNOHANG) == 0,
                  "run ended with %d: see %s/%s.log", code_of(status), test_dir(), data);
        if (find_process(data, ret_running)) {
            program_call(ret_running, "GET", "/readyz", "", NULL, &reply);
            ready = reply.status == 200;
        }
        IGNORE_RESULT(poll(NULL, 0, ready ? 0 : 10)); /* a pause, bounded by the deadline */
    }
    CHECK_MSG(ready, "not ready after %d s: %s", START_SECONDS, reply.text);
}

int program_stop(struct running *running, int signal_number)
{
    CHECK(kill(running->pid, signal_number) == 0);
    return await(running->pid, START_SECONDS);
}

void program_call(const struct running *running, const char *method, const char *path,
                  const char *extra, const char *body, struct raw_reply *ret_reply)
{
    static char request[1 << 20];
    int n =
        snprintf(request, sizeof(request),
                 "%s %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nConnection: close\r\n"
                 "%sContent-Length: %zu\r\n\r\n%s",
                 method, path, running->token, extra, body != NULL ? strlen(body) : 0,
                 body != NULL ? body : "");
    CHECK(n > 0 && n < (int)sizeof(request));
    raw_call(running->port, request, ret_reply);
}
