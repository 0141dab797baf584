// SPDX-License-Identifier: Apache-2.0
// The loop that the JSON row is compared with.

extern "C" {
#include "base/str.h"
}

#undef _REENTRANT
#include <simdjson.h>

#include <cstring>
#include <new>

#include "bench/rows.h"

using namespace simdjson;

struct bare_json {
    ondemand::parser parser;
};

extern "C" struct bare_json *bare_json_new(void)
{
    return new (std::nothrow) bare_json;
}

extern "C" void bare_json_free(struct bare_json *bare)
{
    delete bare;
}

/* The three fields in their order, as the engine must: it rejects a record whose used fields have other types. */
static uint64_t read_one(ondemand::parser &parser, const struct str &value)
{
    ondemand::document document;
    ondemand::object object;
    if (parser.iterate(value.ptr, (size_t)value.len, (size_t)value.len + SIMDJSON_PADDING)
                .get(document) != SUCCESS ||
        document.get_object().get(object) != SUCCESS) {
        return 0;
    }
    std::string_view user;
    std::string_view kind;
    int64_t ts = 0;
    if (object.find_field("user").get_string().get(user) != SUCCESS ||
        object.find_field("kind").get_string().get(kind) != SUCCESS ||
        object.find_field("ts").get_int64().get(ts) != SUCCESS) {
        return 0;
    }
    return kind == "view" ? user.size() + (uint64_t)ts : 1;
}

extern "C" uint64_t bare_json_step(struct bare_json *bare, const struct str *values, int32_t count)
{
    uint64_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += read_one(bare->parser, values[i]);
    }
    return sum;
}

static const size_t AD_ID_BYTES = 36;

/* An event that is a view, well formed: true. */
static bool read_view(ondemand::parser &parser, const struct str &value, struct bare_view *ret_view)
{
    ondemand::document document;
    ondemand::object object;
    std::string_view ad_id;
    std::string_view type;
    std::string_view time;
    if (parser.iterate(value.ptr, (size_t)value.len, (size_t)value.len + SIMDJSON_PADDING)
                .get(document) != SUCCESS ||
        document.get_object().get(object) != SUCCESS ||
        object.find_field("ad_id").get_string().get(ad_id) != SUCCESS ||
        object.find_field("event_type").get_string().get(type) != SUCCESS || type != "view" ||
        object.find_field("event_time").get_string().get(time) != SUCCESS ||
        ad_id.size() != AD_ID_BYTES) {
        return false;
    }
    int64_t time_ms = 0;
    for (char c : time) {
        time_ms = time_ms * 10 + (c - '0');
    }
    std::memcpy(ret_view->ad_id, ad_id.data(),
                AD_ID_BYTES); // the parser's text goes with the next record
    ret_view->time_ms = time_ms;
    return true;
}

extern "C" int32_t bare_json_views(struct bare_json *bare, const struct str *values, int32_t count,
                                   struct bare_view *ret_views)
{
    int32_t views = 0;
    for (int32_t i = 0; i < count; i++) {
        views += read_view(bare->parser, values[i], &ret_views[views]) ? 1 : 0;
    }
    return views;
}
