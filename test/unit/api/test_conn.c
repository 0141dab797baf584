// SPDX-License-Identifier: Apache-2.0
#include "api/conn_priv.h"
#include "base/check.h"
#include "base/real/clock_real.h"
#include "test.h"

static struct api api;

/* api_stop() says that it stops, and looks for the busy, under one lock: whoever comes behind it is not let in, and whoever
 * came before is counted. */
TEST(a_request_waits_or_is_told_that_the_process_ends)
{
    struct conn *early = &api.conns[0], *late = &api.conns[1];
    api.clock = clock_real();
    CHECK(pthread_mutex_init(&api.lock, NULL) == 0 && pthread_cond_init(&api.idle, NULL) == 0);
    early->api = late->api = &api;
    conn_enter(early, CONN_BODY);
    conn_enter(late, CONN_BODY);
    EXPECT(conn_wait(early));
    EXPECT_INT(early->state, CONN_WAIT);
    EXPECT_INT(api.busy_count, 1);
    api.stopping = true;
    EXPECT(!conn_wait(late));
    EXPECT_INT(late->state, CONN_BODY);
    EXPECT_INT(api.busy_count, 1);
    conn_enter(early, CONN_REPLY); /* an event stream that has sent all it had asks again */
    EXPECT(!conn_wait(early));
    EXPECT_INT(early->state, CONN_REPLY);
    EXPECT_INT(api.busy_count, 1);
    CHECK(pthread_cond_destroy(&api.idle) == 0 && pthread_mutex_destroy(&api.lock) == 0);
}
