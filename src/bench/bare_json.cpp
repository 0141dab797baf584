// SPDX-License-Identifier: Apache-2.0
// The loop that the JSON row is compared with.

extern "C" {
#include "base/str.h"
}

#undef _REENTRANT
#include <simdjson.h>

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
