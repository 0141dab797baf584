// SPDX-License-Identifier: Apache-2.0
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicLong;
import net.openhft.hashing.LongHashFunction;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.contrib.streaming.state.EmbeddedRocksDBStateBackend;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.RichSinkFunction;
import org.apache.flink.streaming.api.functions.source.RichSourceFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/**
 * A lean job: the input's bytes in memory, one parser that walks them, results into a hash. One JVM, parallelism 1, objects
 * reused. Usage: FlinkPeer QUERY MODE FILE PASSES FOLDER [ADS]; prints one JSON line a
 * pass. Queries of the standard benchmarks are in Standard.
 */
public final class FlinkPeer {
    static byte[] input;
    static int[] starts; // of lines
    static final AtomicLong HASH = new AtomicLong();
    static final AtomicLong RESULTS = new AtomicLong();

    /** Emits the number of each line. */
    static final class Lines extends RichSourceFunction<Integer> implements CheckpointedFunction {
        private int next;
        private volatile boolean running = true;
        private transient ListState<Integer> state;

        @Override
        public void run(SourceContext<Integer> context) {
            Object lock = context.getCheckpointLock();
            while (running && next < starts.length) {
                synchronized (lock) {
                    for (int i = 0; i < 64 && next < starts.length; i++) {
                        context.collect(next++);
                    }
                }
            }
        }

        @Override
        public void cancel() {
            running = false;
        }

        @Override
        public void snapshotState(FunctionSnapshotContext context) throws Exception {
            state.clear();
            state.add(next);
        }

        @Override
        public void initializeState(FunctionInitializationContext context) throws Exception {
            state = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("next", Integer.class));
            for (int value : state.get()) {
                next = value;
            }
        }
    }

    /** Keeps views: user and time. One parser goes over the whole input, record by record. */
    static final class Views extends RichFlatMapFunction<Integer, Tuple2<String, Long>> {
        private transient JsonParser parser;
        private transient int expected;
        private transient Tuple2<String, Long> out;

        @Override
        public void open(Configuration parameters) {
            out = new Tuple2<>();
        }

        @Override
        public void flatMap(Integer line, Collector<Tuple2<String, Long>> collector) throws Exception {
            if (parser == null || line != expected) {
                int at = starts[line];
                parser = new JsonFactory().createParser(input, at, input.length - at);
            }
            expected = line + 1;
            parser.nextToken();
            String user = null;
            boolean view = false;
            long ts = 0;
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.getCurrentName();
                parser.nextToken();
                switch (name) {
                    case "user" -> user = parser.getText();
                    case "kind" -> view = parser.getText().equals("view");
                    case "ts" -> ts = parser.getLongValue();
                    default -> { }
                }
            }
            if (view) {
                out.f0 = user;
                out.f1 = ts;
                collector.collect(out);
            }
        }
    }

    static void result(String line) {
        HASH.addAndGet(LongHashFunction.xx3().hashBytes(line.getBytes(StandardCharsets.ISO_8859_1)));
        RESULTS.incrementAndGet();
    }

    static final class ViewSink extends RichSinkFunction<Tuple2<String, Long>> {
        @Override
        public void invoke(Tuple2<String, Long> value, Context context) {
            result("{\"user\":\"" + value.f0 + "\",\"ts\":" + value.f1 + "}");
        }
    }

    static final class LineSink extends RichSinkFunction<String> {
        @Override
        public void invoke(String line, Context context) {
            result(line);
        }
    }

    static final class Count implements AggregateFunction<Tuple2<String, Long>, Long, Long> {
        @Override
        public Long createAccumulator() {
            return 0L;
        }

        @Override
        public Long add(Tuple2<String, Long> value, Long count) {
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

    /** The result of one key's window as a line. */
    interface WindowedLine extends java.io.Serializable {
        String of(String key, TimeWindow window, long n);
    }

    static final class ToLine extends ProcessWindowFunction<Long, String, String, TimeWindow> {
        private final WindowedLine line;

        ToLine(WindowedLine line) {
            this.line = line;
        }

        @Override
        public void process(String key, Context context, Iterable<Long> counts, Collector<String> out) {
            out.collect(line.of(key, context.window(), counts.iterator().next()));
        }
    }

    static void count(DataStream<Tuple2<String, Long>> views, WindowedLine line) {
        views.assignTimestampsAndWatermarks(
                        WatermarkStrategy.<Tuple2<String, Long>>forMonotonousTimestamps().withTimestampAssigner((v, t) -> v.f1))
                .keyBy(v -> v.f0, Types.STRING)
                .window(TumblingEventTimeWindows.of(java.time.Duration.ofSeconds(10)))
                .aggregate(new Count(), new ToLine(line), Types.LONG, Types.LONG, Types.STRING)
                .addSink(new LineSink());
    }

    static void run(String query, String mode, String folder) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1);
        env.getConfig().enableObjectReuse();
        if (!mode.equals("lean")) {
            env.enableCheckpointing(100);
            env.getCheckpointConfig().setCheckpointStorage("file://" + folder + "/checkpoints");
        }
        env.setStateBackend(mode.equals("rocksdb") ? new EmbeddedRocksDBStateBackend(true) : new HashMapStateBackend());
        if (query.equals("filter") || query.equals("count")) {
            DataStream<Tuple2<String, Long>> views =
                    env.addSource(new Lines(), Types.INT).flatMap(new Views()).returns(Types.TUPLE(Types.STRING, Types.LONG));
            if (query.equals("filter")) {
                views.addSink(new ViewSink());
            } else {
                count(views, (key, window, n) -> key + "," + window.maxTimestamp() + ",{\"window_start\":" + window.getStart()
                        + ",\"window_end\":" + window.getEnd() + ",\"n\":" + n + "}");
            }
        } else if (query.equals("ysb")) {
            count(env.addSource(new Lines(), Types.INT).flatMap(new Standard.Ads()).returns(Types.TUPLE(Types.STRING, Types.LONG)),
                    (key, window, n) -> "{\"campaign_id\":\"" + key + "\",\"window_start\":" + window.getStart() + ",\"views\":" + n + "}");
        } else {
            Standard.nexmark(query, env.addSource(new Lines(), Types.INT));
        }
        env.execute(query);
    }

    public static void main(String[] args) throws Exception {
        String query = args[0];
        String mode = args[1];
        input = Files.readAllBytes(Path.of(args[2]));
        if (args.length > 5) {
            Standard.readAds(Path.of(args[5]));
        }
        int lines = 0;
        for (byte b : input) {
            lines += b == '\n' ? 1 : 0;
        }
        starts = new int[lines];
        for (int at = 0, line = 0; line < lines; at++) {
            starts[line++] = at;
            while (input[at] != '\n') {
                at++;
            }
        }
        var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        for (int pass = 0; pass < Integer.parseInt(args[3]); pass++) {
            HASH.set(0);
            RESULTS.set(0);
            long cpu = os.getProcessCpuTime();
            long wall = System.nanoTime();
            run(query, mode, args[4]);
            System.out.printf("{\"records\":%d,\"cpu_s\":%.4f,\"wall_s\":%.4f,\"hash\":\"%016x\",\"results\":%d}%n", lines,
                    (os.getProcessCpuTime() - cpu) / 1e9, (System.nanoTime() - wall) / 1e9, HASH.get(), RESULTS.get());
        }
    }
}
