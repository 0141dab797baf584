// SPDX-License-Identifier: Apache-2.0
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import net.openhft.hashing.LongHashFunction;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Window;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Kafka Streams, exactly once each 100 ms, on a broker that runs beside it.
 *
 * <pre>
 *   load  BOOTSTRAP TOPIC FILE               the input: clicks with key = user, events of YSB without a key, timestamps theirs,
 *                                            one partition, and a last record whose time closes all windows
 *   run   BOOTSTRAP TOPIC QUERY FOLDER RECORDS BROKER_PID [ADS]    prints one JSON line; the first third is warm-up
 *   hash  BOOTSTRAP TOPIC                    of the results, committed ones only
 * </pre>
 */
public final class StreamsPeer {
    static final String END = "zzz-end";
    static final long DAY_MS = 86_400_000L;
    static final Map<String, String> CAMPAIGNS = new HashMap<>();
    static volatile long seen;
    static volatile boolean ended; // the last record has come to the windows

    static Map<String, Object> client(String bootstrap) {
        return Map.of("bootstrap.servers", bootstrap);
    }

    /** The text between `before` and the next `after`. */
    static String between(String line, String before, char after) {
        int from = line.indexOf(before) + before.length();
        return line.substring(from, line.indexOf(after, from));
    }

    static void load(String bootstrap, String topic, String file) throws Exception {
        try (Admin admin = Admin.create(client(bootstrap))) {
            // The records' times are long past: without this they are removed while they are read.
            Map<String, String> keep = Map.of("retention.ms", "-1");
            admin.createTopics(List.of("", "-filter", "-count", "-ysb").stream().map(suffix -> new NewTopic(topic + suffix, 1, (short) 1).configs(keep)).toList()).all().get();
        }
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "1", "linger.ms", "20", "batch.size", "262144",
                "key.serializer", ByteArraySerializer.class, "value.serializer", ByteArraySerializer.class);
        byte[] input = Files.readAllBytes(Path.of(file));
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            long ts = 0;
            boolean clicks = new String(input, 0, 9, StandardCharsets.ISO_8859_1).equals("{\"user\":\"");
            for (int at = 0; at < input.length; ) {
                int end = at;
                while (input[end] != '\n') {
                    end++;
                }
                String line = new String(input, at, end - at, StandardCharsets.ISO_8859_1);
                ts = Long.parseLong(clicks ? between(line, "\"ts\":", ',') : between(line, "\"event_time\": \"", '"'));
                byte[] key = clicks ? between(line, "\"user\":\"", '"').getBytes(StandardCharsets.ISO_8859_1) : null;
                producer.send(new ProducerRecord<>(topic, 0, ts, key, Arrays.copyOfRange(input, at, end)));
                at = end + 1;
            }
            String last = clicks ? "{\"user\":\"" + END + "\",\"kind\":\"view\",\"ts\":" + (ts + DAY_MS) + ",\"duration\":0}"
                    : "{\"ad_id\": \"" + END + "\", \"event_type\": \"view\"}";
            producer.send(new ProducerRecord<>(topic, 0, ts + DAY_MS, END.getBytes(StandardCharsets.ISO_8859_1), last.getBytes(StandardCharsets.ISO_8859_1)));
        }
    }

    static void readAds(String file) throws Exception {
        for (String line : Files.readAllLines(Path.of(file))) {
            String[] parts = line.split("\"");
            CAMPAIGNS.put(parts[3], parts[7]);
        }
        CAMPAIGNS.put(END, END);
    }

    static final JsonFactory FACTORY = new JsonFactory();

    /** The view that a record is, or nothing. */
    static List<String> view(byte[] json) {
        seen++;
        try (JsonParser parser = FACTORY.createParser(json)) {
            String user = null;
            boolean view = false;
            long ts = 0;
            parser.nextToken();
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
            return view ? List.of("{\"user\":\"" + user + "\",\"ts\":" + ts + "}") : List.of();
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** The campaign of the view that a record is, or nothing. */
    static List<String> campaign(byte[] json) {
        seen++;
        try (JsonParser parser = FACTORY.createParser(json)) {
            String ad = null;
            boolean view = false;
            parser.nextToken();
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.getCurrentName();
                parser.nextToken();
                switch (name) {
                    case "ad_id" -> ad = parser.getText();
                    case "event_type" -> view = parser.getText().equals("view");
                    default -> { }
                }
            }
            String campaign = view ? CAMPAIGNS.get(ad) : null;
            return campaign != null ? List.of(campaign) : List.of();
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** The result of one key's window as a line. */
    interface WindowedLine {
        String of(String key, Window window, long n);
    }

    static KStream<String, String> count(KGroupedStream<String, String> groups, WindowedLine line) {
        return groups.windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10)))
                .emitStrategy(EmitStrategy.onWindowClose())
                .aggregate(() -> 0L, (key, value, n) -> {
                    ended = ended || key.equals(END);
                    return n + 1;
                }, Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("counts").withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.Long()).withCachingDisabled().withRetention(Duration.ofDays(2)))
                .toStream()
                .map((key, n) -> KeyValue.pair(key.key(), line.of(key.key(), key.window(), n)));
    }

    static StreamsBuilder topology(String topic, String query) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, byte[]> input = builder.stream(topic, Consumed.with(Serdes.String(), Serdes.ByteArray()));
        Grouped<String, String> texts = Grouped.with(Serdes.String(), Serdes.String());
        KStream<String, String> results;
        switch (query) {
            case "filter" -> results = input.flatMapValues(StreamsPeer::view);
            case "count" -> results = count(input.flatMapValues(StreamsPeer::view).groupByKey(texts),
                    (key, window, n) -> key + "," + (window.end() - 1) + ",{\"window_start\":" + window.start() + ",\"window_end\":" + window.end()
                            + ",\"n\":" + n + "}");
            case "ysb" -> results = count(input.flatMapValues(StreamsPeer::campaign).groupBy((key, campaign) -> campaign, texts),
                    (key, window, n) -> "{\"campaign_id\":\"" + key + "\",\"window_start\":" + window.start() + ",\"views\":" + n + "}");
            default -> throw new IllegalArgumentException("filter, count or ysb");
        }
        results.to(topic + "-" + query, Produced.with(Serdes.String(), Serdes.String()));
        return builder;
    }

    /** CPU time of another process, user and system, in seconds. */
    static double cpuOf(String pid) throws Exception {
        String stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / 100.0;
    }

    static void run(String bootstrap, String topic, String query, String folder, long records, String broker) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer-" + query + "-" + System.nanoTime());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20000);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), 10000);
        settings.put(StreamsConfig.producerPrefix("batch.size"), 262144);
        settings.put(StreamsConfig.producerPrefix("linger.ms"), 20);
        // Windows close faster here than on a wall clock: without this only those that are closed each second come out.
        settings.put("__emit.interval.ms.kstreams.windowed.aggregation__", 0L);
        var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        try (KafkaStreams streams = new KafkaStreams(topology(topic, query).build(), settings)) {
            streams.start();
            while (seen < records / 3) {
                Thread.sleep(1);
            }
            long from = seen;
            long cpu = os.getProcessCpuTime();
            double brokerCpu = cpuOf(broker);
            long wall = System.nanoTime();
            while (seen < records + 1 || !(ended || query.equals("filter"))) {
                Thread.sleep(1);
            }
            Thread.sleep(500); // the last commits
            System.out.printf("{\"records\":%d,\"cpu_s\":%.4f,\"broker_cpu_s\":%.4f,\"wall_s\":%.4f}%n", records + 1 - from,
                    (os.getProcessCpuTime() - cpu) / 1e9, cpuOf(broker) - brokerCpu, (System.nanoTime() - wall) / 1e9);
        }
    }

    static void hash(String bootstrap, String topic) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed",
                "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class);
        long sum = 0;
        long results = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    if (!new String(record.key(), StandardCharsets.ISO_8859_1).equals(END)) {
                        sum += LongHashFunction.xx3().hashBytes(record.value());
                        results++;
                    }
                }
            }
        }
        System.out.printf("{\"hash\":\"%016x\",\"results\":%d}%n", sum, results);
    }

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "load" -> load(args[1], args[2], args[3]);
            case "run" -> {
                if (args.length > 7) {
                    readAds(args[7]);
                }
                run(args[1], args[2], args[3], args[4], Long.parseLong(args[5]), args[6]);
            }
            case "hash" -> hash(args[1], args[2]);
            default -> throw new IllegalArgumentException("load, run or hash");
        }
    }
}
