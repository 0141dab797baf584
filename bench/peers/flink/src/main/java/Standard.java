// SPDX-License-Identifier: Apache-2.0
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.SlidingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** Yahoo's streaming benchmark and Nexmark's q0 to q3, q5, q7, q8, with the result lines of tools/nexmark_recount. */
final class Standard {
    static final Map<String, String> CAMPAIGNS = new HashMap<>();

    private Standard() {}

    static void readAds(Path file) throws IOException {
        for (String line : Files.readAllLines(file)) {
            String[] parts = line.split("\"");
            CAMPAIGNS.put(parts[3], parts[7]);
        }
    }

    /** One parser goes over the whole input, record by record; here it stands at the first token of line `line`. */
    abstract static class Reader<T> extends RichFlatMapFunction<Integer, T> {
        private transient JsonParser parser;
        private transient int expected;

        JsonParser at(int line) throws IOException {
            if (parser == null || line != expected) {
                int at = FlinkPeer.starts[line];
                parser = new JsonFactory().createParser(FlinkPeer.input, at, FlinkPeer.input.length - at);
            }
            expected = line + 1;
            parser.nextToken();
            return parser;
        }
    }

    /** Views, with their ad's campaign and their time. */
    static final class Ads extends Reader<Tuple2<String, Long>> {
        private transient Tuple2<String, Long> out;

        @Override
        public void open(Configuration parameters) {
            out = new Tuple2<>();
        }

        @Override
        public void flatMap(Integer line, Collector<Tuple2<String, Long>> collector) throws Exception {
            JsonParser parser = at(line);
            String ad = null;
            boolean view = false;
            long time = 0;
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.getCurrentName();
                parser.nextToken();
                switch (name) {
                    case "ad_id" -> ad = parser.getText();
                    case "event_type" -> view = parser.getText().equals("view");
                    case "event_time" -> time = Long.parseLong(parser.getText());
                    default -> { }
                }
            }
            out.f0 = view ? CAMPAIGNS.get(ad) : null;
            out.f1 = time;
            if (out.f0 != null) {
                collector.collect(out);
            }
        }
    }

    /** An event; of its fields those that its kind has. */
    public static final class Event {
        public String kind;
        public String extra;
        public String name;
        public String city;
        public String state;
        public long id;
        public long seller;
        public long category;
        public long auction;
        public long bidder;
        public long price;
        public long time;
    }

    /** Events of the kinds whose first letters are in `kinds`. */
    static final class Events extends Reader<Event> {
        private final String kinds;

        Events(String kinds) {
            this.kinds = kinds;
        }

        @Override
        public void flatMap(Integer line, Collector<Event> collector) throws Exception {
            JsonParser parser = at(line);
            Event event = new Event();
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.getCurrentName();
                parser.nextToken();
                switch (name) {
                    case "kind" -> event.kind = parser.getText();
                    case "extra" -> event.extra = kinds.equals("b") ? parser.getText() : null;
                    case "name" -> event.name = parser.getText();
                    case "city" -> event.city = parser.getText();
                    case "state" -> event.state = parser.getText();
                    case "id" -> event.id = parser.getLongValue();
                    case "seller" -> event.seller = parser.getLongValue();
                    case "category" -> event.category = parser.getLongValue();
                    case "auction" -> event.auction = parser.getLongValue();
                    case "bidder" -> event.bidder = parser.getLongValue();
                    case "price" -> event.price = parser.getLongValue();
                    case "dateTime" -> event.time = parser.getLongValue();
                    default -> { }
                }
            }
            if (kinds.indexOf(event.kind.charAt(0)) >= 0) {
                collector.collect(event);
            }
        }
    }

    static String bid(Event e, String price, long value) {
        return "{\"auction\":" + e.auction + ",\"bidder\":" + e.bidder + ",\"" + price + "\":" + value + ",\"dateTime\":" + e.time
                + ",\"extra\":\"" + e.extra + "\"}";
    }

    /** q3: auctions beside their sellers, whichever comes first. */
    static final class Join extends KeyedProcessFunction<Long, Event, String> {
        private transient ValueState<String> person;
        private transient ListState<Long> waiting;

        @Override
        public void open(Configuration parameters) {
            person = getRuntimeContext().getState(new ValueStateDescriptor<>("person", String.class));
            waiting = getRuntimeContext().getListState(new ListStateDescriptor<>("waiting", Long.class));
        }

        @Override
        public void processElement(Event e, Context context, Collector<String> out) throws Exception {
            if (e.kind.equals("person")) {
                String head = "{\"name\":\"" + e.name + "\",\"city\":\"" + e.city + "\",\"state\":\"" + e.state + "\",\"auction\":";
                person.update(head);
                for (long auction : waiting.get()) {
                    out.collect(head + auction + "}");
                }
                waiting.clear();
            } else if (person.value() != null) {
                out.collect(person.value() + e.id + "}");
            } else {
                waiting.add(e.id);
            }
        }
    }

    static final class Count implements AggregateFunction<Event, Long, Long> {
        @Override
        public Long createAccumulator() {
            return 0L;
        }

        @Override
        public Long add(Event event, Long count) {
            return count + 1;
        }

        @Override
        public Long getResult(Long count) {
            return count;
        }

        @Override
        public Long merge(Long a, Long b) {
            return a + b;
        }
    }

    /** q5, first: (window's end, auction, bids). */
    static final class Bids extends ProcessWindowFunction<Long, Tuple3<Long, Long, Long>, Long, TimeWindow> {
        @Override
        public void process(Long auction, Context context, Iterable<Long> counts, Collector<Tuple3<Long, Long, Long>> out) {
            out.collect(Tuple3.of(context.window().getEnd(), auction, counts.iterator().next()));
        }
    }

    /** q5, then: who has the most, all of them. */
    static final class Hot extends ProcessWindowFunction<Tuple3<Long, Long, Long>, String, Long, TimeWindow> {
        @Override
        public void process(Long end, Context context, Iterable<Tuple3<Long, Long, Long>> counts, Collector<String> out) {
            long most = 0;
            for (Tuple3<Long, Long, Long> count : counts) {
                most = Math.max(most, count.f2);
            }
            for (Tuple3<Long, Long, Long> count : counts) {
                if (count.f2 == most) {
                    out.collect("{\"window_end\":" + end + ",\"auction\":" + count.f1 + ",\"bids\":" + most + "}");
                }
            }
        }
    }

    /** q7: the highest price, and the lines of all bids of it. */
    static final class Highest implements AggregateFunction<Event, Tuple2<Long, ArrayList<String>>, List<String>> {
        @Override
        public Tuple2<Long, ArrayList<String>> createAccumulator() {
            return Tuple2.of(0L, new ArrayList<>());
        }

        @Override
        public Tuple2<Long, ArrayList<String>> add(Event e, Tuple2<Long, ArrayList<String>> highest) {
            if (e.price > highest.f0) {
                highest.f0 = e.price;
                highest.f1.clear();
            }
            if (e.price == highest.f0) {
                highest.f1.add(bid(e, "price", e.price));
            }
            return highest;
        }

        @Override
        public List<String> getResult(Tuple2<Long, ArrayList<String>> highest) {
            return highest.f1;
        }

        @Override
        public Tuple2<Long, ArrayList<String>> merge(Tuple2<Long, ArrayList<String>> a, Tuple2<Long, ArrayList<String>> b) {
            throw new UnsupportedOperationException("tumbling windows do not merge");
        }
    }

    /** q8: the person that registered (id, name; null: none) and how many auctions it opened. */
    static final class Opened implements AggregateFunction<Event, Tuple2<String, Long>, Tuple2<String, Long>> {
        @Override
        public Tuple2<String, Long> createAccumulator() {
            return Tuple2.of(null, 0L);
        }

        @Override
        public Tuple2<String, Long> add(Event e, Tuple2<String, Long> found) {
            if (e.kind.equals("person")) {
                found.f0 = "{\"id\":" + e.id + ",\"name\":\"" + e.name + "\",\"window_start\":";
            } else {
                found.f1++;
            }
            return found;
        }

        @Override
        public Tuple2<String, Long> getResult(Tuple2<String, Long> found) {
            return found;
        }

        @Override
        public Tuple2<String, Long> merge(Tuple2<String, Long> a, Tuple2<String, Long> b) {
            throw new UnsupportedOperationException("tumbling windows do not merge");
        }
    }

    static final class NewUsers extends ProcessWindowFunction<Tuple2<String, Long>, String, Long, TimeWindow> {
        @Override
        public void process(Long who, Context context, Iterable<Tuple2<String, Long>> found, Collector<String> out) {
            Tuple2<String, Long> one = found.iterator().next();
            if (one.f0 != null && one.f1 > 0) {
                out.collect(one.f0 + context.window().getStart() + "}");
            }
        }
    }

    private static DataStream<Event> timed(DataStream<Integer> lines, String kinds) {
        return lines.flatMap(new Events(kinds)).returns(TypeInformation.of(Event.class))
                .assignTimestampsAndWatermarks(WatermarkStrategy.<Event>forMonotonousTimestamps().withTimestampAssigner((e, t) -> e.time));
    }

    /** The query over the numbers of the input's lines, its result lines into the sink. */
    static void nexmark(String query, DataStream<Integer> lines) {
        TumblingEventTimeWindows tens = TumblingEventTimeWindows.of(Duration.ofSeconds(10));
        DataStream<Event> bids = lines.flatMap(new Events("b")).returns(TypeInformation.of(Event.class));
        DataStream<String> results = switch (query) {
            case "q0" -> bids.map(e -> bid(e, "price", e.price)).returns(Types.STRING);
            case "q1" -> bids.map(e -> bid(e, "price_thousandths", e.price * 908)).returns(Types.STRING);
            case "q2" -> bids.filter(e -> e.auction % 123 == 0)
                    .map(e -> "{\"auction\":" + e.auction + ",\"price\":" + e.price + "}").returns(Types.STRING);
            case "q3" -> lines.flatMap(new Events("pa")).returns(TypeInformation.of(Event.class))
                    .filter(e -> e.kind.equals("auction") ? e.category == 10 : e.state.equals("OR") || e.state.equals("ID") || e.state.equals("CA"))
                    .keyBy(e -> e.kind.equals("auction") ? e.seller : e.id, Types.LONG).process(new Join(), Types.STRING);
            case "q5" -> timed(lines, "b").keyBy(e -> e.auction, Types.LONG)
                    .window(SlidingEventTimeWindows.of(Duration.ofSeconds(10), Duration.ofSeconds(2)))
                    .aggregate(new Count(), new Bids(), Types.LONG, Types.LONG, Types.TUPLE(Types.LONG, Types.LONG, Types.LONG))
                    .keyBy(count -> count.f0, Types.LONG)
                    .window(TumblingEventTimeWindows.of(Duration.ofSeconds(2))).process(new Hot(), Types.STRING);
            case "q7" -> timed(lines, "b").keyBy(e -> 0L, Types.LONG).window(tens).aggregate(new Highest())
                    .returns(Types.LIST(Types.STRING)).flatMap((List<String> all, Collector<String> out) -> all.forEach(out::collect))
                    .returns(Types.STRING);
            case "q8" -> timed(lines, "pa").keyBy(e -> e.kind.equals("auction") ? e.seller : e.id, Types.LONG).window(tens)
                    .aggregate(new Opened(), new NewUsers(), Types.TUPLE(Types.STRING, Types.LONG), Types.TUPLE(Types.STRING, Types.LONG),
                            Types.STRING);
            default -> throw new IllegalArgumentException(query);
        };
        results.addSink(new FlinkPeer.LineSink());
    }
}
