import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka's Java client as people use it, against the broker given by the first argument; the others
 * name the tests to run. Each prints one line, "PASS name" or "FAIL name: why".
 */
public final class JavaClients {
    private static final Duration LONG = Duration.ofSeconds(30);

    private interface Test {
        void run() throws Exception;
    }

    private final String bootstrap;

    private JavaClients(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] arguments) {
        Map<String, Test> tests = new JavaClients(arguments[0]).tests();
        if (arguments.length == 1) {
            tests.keySet().forEach(System.out::println);
            return;
        }
        for (String name : Arrays.asList(arguments).subList(1, arguments.length)) {
            try {
                tests.get(name).run();
                System.out.println("PASS " + name);
            } catch (Throwable failure) {
                Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
                String text = String.valueOf(cause).replace('\n', ' ');
                System.out.println("FAIL " + name + ": " + text);
                failure.printStackTrace();
            }
        }
        System.exit(0);
    }

    private Map<String, Test> tests() {
        Map<String, Test> tests = new LinkedHashMap<>();
        for (String compression : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            tests.put("produce_consume_" + compression, () -> produceAndConsume(compression));
        }
        tests.put("acks_and_idempotence", this::acksAndIdempotence);
        tests.put("headers_nulls_timestamps", this::headersNullsTimestamps);
        tests.put("large_record", this::largeRecord);
        tests.put("seek_and_offsets_for_times", this::seekAndOffsetsForTimes);
        tests.put("group_classic", () -> group("classic"));
        tests.put("group_consumer", () -> group("consumer"));
        tests.put("group_rebalance_classic", () -> rebalance("classic"));
        tests.put("group_rebalance_consumer", () -> rebalance("consumer"));
        tests.put("static_member", this::staticMember);
        tests.put("transaction_commit_abort", this::transactions);
        tests.put("transaction_offsets", this::transactionOffsets);
        tests.put("transaction_fencing", this::transactionFencing);
        tests.put("admin_topics", this::adminTopics);
        tests.put("admin_configs", this::adminConfigs);
        tests.put("admin_partitions", this::adminPartitions);
        tests.put("admin_records", this::adminRecords);
        tests.put("admin_groups", this::adminGroups);
        tests.put("admin_cluster", this::adminCluster);
        tests.put("streams_word_count", () -> wordCount(StreamsConfig.AT_LEAST_ONCE));
        tests.put("streams_word_count_exactly_once", () -> wordCount(StreamsConfig.EXACTLY_ONCE_V2));
        return tests;
    }

    // --- data ---------------------------------------------------------------------------------

    private void produceAndConsume(String compression) throws Exception {
        String topic = topic(3);
        Map<String, String> sent = new TreeMap<>();
        try (KafkaProducer<String, String> producer = producer("compression.type", compression)) {
            for (int i = 0; i < 1000; i++) {
                sent.put("key" + i, "value " + i + " " + "x".repeat(i % 100));
            }
            sent.forEach((key, value) -> producer.send(new ProducerRecord<>(topic, key, value)));
        }
        Map<String, String> found = new TreeMap<>();
        for (ConsumerRecord<String, String> record : read(topic, 3, 1000, "read_uncommitted")) {
            found.put(record.key(), record.value());
        }
        equal(sent, found);
    }

    private void acksAndIdempotence() throws Exception {
        String topic = topic(1);
        for (String acks : List.of("0", "1", "all")) {
            try (KafkaProducer<String, String> producer =
                    producer("acks", acks, "enable.idempotence", String.valueOf(acks.equals("all")))) {
                RecordMetadata at = producer.send(new ProducerRecord<>(topic, acks)).get();
                check(acks.equals("0") || at.hasOffset(), "no offset with acks=" + acks);
            }
        }
        equal(
                List.of("0", "1", "all"),
                read(topic, 1, 3, "read_uncommitted").stream().map(ConsumerRecord::value).toList());
    }

    private void headersNullsTimestamps() throws Exception {
        String topic = topic(1);
        try (KafkaProducer<String, String> producer = producer()) {
            ProducerRecord<String, String> record = 
                    new ProducerRecord<>(topic, 0, 1234567890123L, (String) null, (String) null);
            record.headers().add("trace", "7".getBytes(StandardCharsets.UTF_8)).add("none", null);
            RecordMetadata at = producer.send(record).get();
            equal(1234567890123L, at.timestamp());
        }
        ConsumerRecord<String, String> found = read(topic, 1, 1, "read_uncommitted").get(0);
        equal(1234567890123L, found.timestamp());
        check(found.key() == null && found.value() == null, "null became something");
        equal("7", new String(found.headers().lastHeader("trace").value(), StandardCharsets.UTF_8));
        check(found.headers().lastHeader("none").value() == null, "a null header became something");
    }

    private void largeRecord() throws Exception {
        String topic = topic(1);
        String value = "x".repeat(900_000);
        try (KafkaProducer<String, String> producer = producer()) {
            producer.send(new ProducerRecord<>(topic, value)).get();
        }
        equal(value, read(topic, 1, 1, "read_uncommitted").get(0).value());
    }

    private void seekAndOffsetsForTimes() throws Exception {
        String topic = topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = producer()) {
            for (int i = 0; i < 100; i++) {
                producer.send(new ProducerRecord<>(topic, 0, 1000L + i * 10, "k", "v" + i));
            }
        }
        try (KafkaConsumer<String, String> consumer = consumer()) {
            consumer.assign(List.of(partition));
            equal(0L, consumer.beginningOffsets(List.of(partition)).get(partition));
            equal(100L, consumer.endOffsets(List.of(partition)).get(partition));
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, 1495L)).get(partition);
            equal(50L, found.offset());
            equal(1500L, found.timestamp());
            check(consumer.offsetsForTimes(Map.of(partition, 9999L)).get(partition) == null, "found the future");
            consumer.seek(partition, 97);
            equal(List.of("v97", "v98", "v99"), values(poll(consumer, 3)));
        }
    }

    // --- groups -------------------------------------------------------------------------------

    private void group(String protocol) throws Exception {
        String topic = topic(2);
        String group = "group-" + UUID.randomUUID();
        try (KafkaProducer<String, String> producer = producer()) {
            for (int i = 0; i < 20; i++) {
                producer.send(new ProducerRecord<>(topic, i % 2, null, "v" + i));
            }
        }
        try (KafkaConsumer<String, String> consumer = member(group, protocol)) {
            consumer.subscribe(List.of(topic));
            equal(20, poll(consumer, 20).size());
            consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(4, "note")));
            Map<TopicPartition, OffsetAndMetadata> committed =
                    consumer.committed(Set.of(new TopicPartition(topic, 0)));
            equal("note", committed.get(new TopicPartition(topic, 0)).metadata());
            consumer.commitSync();
        }
        try (KafkaProducer<String, String> producer = producer()) {
            producer.send(new ProducerRecord<>(topic, 0, null, "last")).get();
        }
        try (KafkaConsumer<String, String> consumer = member(group, protocol)) {
            consumer.subscribe(List.of(topic));
            equal(List.of("last"), values(poll(consumer, 1)));
        }
    }

    private void rebalance(String protocol) throws Exception {
        String topic = topic(4);
        String group = "group-" + UUID.randomUUID();
        try (KafkaConsumer<String, String> first = member(group, protocol)) {
            first.subscribe(List.of(topic));
            await(() -> { first.poll(Duration.ofMillis(100)); return first.assignment().size() == 4; });
            try (KafkaConsumer<String, String> second = member(group, protocol)) {
                second.subscribe(List.of(topic));
                await(() -> {
                    first.poll(Duration.ofMillis(100));
                    second.poll(Duration.ofMillis(100));
                    return first.assignment().size() == 2 && second.assignment().size() == 2;
                });
                Set<TopicPartition> both = new HashSet<>(first.assignment());
                both.addAll(second.assignment());
                equal(4, both.size());
            }
            await(() -> { first.poll(Duration.ofMillis(100)); return first.assignment().size() == 4; });
        }
    }

    private void staticMember() throws Exception {
        String topic = topic(2);
        String group = "group-" + UUID.randomUUID();
        Set<TopicPartition> before;
        try (KafkaConsumer<String, String> other = member(group, "classic", "group.instance.id", "b")) {
            other.subscribe(List.of(topic));
            try (KafkaConsumer<String, String> one = member(group, "classic", "group.instance.id", "a")) {
                one.subscribe(List.of(topic));
                await(() -> {
                    one.poll(Duration.ofMillis(100));
                    other.poll(Duration.ofMillis(100));
                    return one.assignment().size() == 1 && other.assignment().size() == 1;
                });
                before = one.assignment();
            }
            try (KafkaConsumer<String, String> again = member(group, "classic", "group.instance.id", "a")) {
                again.subscribe(List.of(topic));
                await(() -> {
                    again.poll(Duration.ofMillis(100));
                    other.poll(Duration.ofMillis(100));
                    return again.assignment().size() == 1;
                });
                equal(before, again.assignment());
            }
        }
    }

    // --- transactions -------------------------------------------------------------------------

    private void transactions() throws Exception {
        String topic = topic(2);
        try (KafkaProducer<String, String> producer = transactional("t-" + UUID.randomUUID())) {
            for (int number = 0; number < 6; number++) {
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) {
                    producer.send(new ProducerRecord<>(topic, i % 2, null, number + "-" + i));
                }
                if (number % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.flush();
                    producer.abortTransaction();
                }
            }
        }
        List<ConsumerRecord<String, String>> committed = read(topic, 2, 30, "read_committed");
        check(committed.stream().noneMatch(r -> (r.value().charAt(0) - '0') % 2 == 1), "an aborted record");
        equal(60, read(topic, 2, 60, "read_uncommitted").size());
    }

    private void transactionOffsets() throws Exception {
        String source = topic(1);
        String target = topic(1);
        String group = "group-" + UUID.randomUUID();
        try (KafkaProducer<String, String> producer = producer()) {
            for (int i = 0; i < 50; i++) {
                producer.send(new ProducerRecord<>(source, "v" + i));
            }
        }
        try (KafkaConsumer<String, String> consumer = member(group, "classic");
                KafkaProducer<String, String> producer = transactional("t-" + UUID.randomUUID())) {
            consumer.subscribe(List.of(source));
            int moved = 0;
            while (moved < 50) {
                List<ConsumerRecord<String, String>> records = poll(consumer, 1);
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(target, record.value() + "!"));
                    offsets.put(new TopicPartition(source, 0), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                producer.commitTransaction();
                moved += records.size();
            }
            equal(50L, consumer.committed(Set.of(new TopicPartition(source, 0)))
                    .get(new TopicPartition(source, 0)).offset());
        }
        equal(50, read(target, 1, 50, "read_committed").size());
    }

    private void transactionFencing() throws Exception {
        String topic = topic(1);
        String id = "t-" + UUID.randomUUID();
        try (KafkaProducer<String, String> old = transactional(id)) {
            old.beginTransaction();
            old.send(new ProducerRecord<>(topic, "lost")).get();
            try (KafkaProducer<String, String> successor = transactional(id)) {
                successor.beginTransaction();
                successor.send(new ProducerRecord<>(topic, "kept"));
                successor.commitTransaction();
            }
            try {
                old.send(new ProducerRecord<>(topic, "late")).get();
                old.commitTransaction();
                throw new AssertionError("a fenced producer committed");
            } catch (ExecutionException | org.apache.kafka.common.KafkaException expected) {
                check(isFenced(expected), "fenced with " + expected);
            }
        }
        equal(List.of("kept"), values(read(topic, 1, 1, "read_committed")));
    }

    private static boolean isFenced(Throwable error) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof ProducerFencedException
                    || cause instanceof org.apache.kafka.common.errors.InvalidProducerEpochException) {
                return true;
            }
        }
        return false;
    }

    // --- admin --------------------------------------------------------------------------------

    private void adminTopics() throws Exception {
        try (Admin admin = admin()) {
            String name = "topic-" + UUID.randomUUID();
            NewTopic wanted = new NewTopic(name, 3, (short) 1).configs(Map.of("retention.ms", "60000"));
            admin.createTopics(List.of(wanted)).all().get();
            await(() -> admin.listTopics().names().get().contains(name));
            TopicDescription found = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
            equal(3, found.partitions().size());
            check(!found.topicId().toString().isEmpty() && !found.isInternal(), "topic id");
            equal(found.partitions().get(0).leader(), found.partitions().get(0).replicas().get(0));
            fails(TopicExistsException.class, () -> admin.createTopics(List.of(wanted)).all().get());
            admin.deleteTopics(List.of(name)).all().get();
            await(() -> !admin.listTopics().names().get().contains(name));
            fails(UnknownTopicOrPartitionException.class,
                    () -> admin.describeTopics(List.of(name)).allTopicNames().get());
        }
    }

    private void adminConfigs() throws Exception {
        String topic = topic(1);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin()) {
            Config before = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            equal("delete", before.get("cleanup.policy").value());
            check(before.get("cleanup.policy").isDefault(), "a default is not told as one");
            admin.incrementalAlterConfigs(Map.of(resource, List.of(
                    new AlterConfigOp(new ConfigEntry("retention.ms", "70000"), AlterConfigOp.OpType.SET),
                    new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND))))
                    .all().get();
            await(() -> "70000".equals(
                    admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value()));
            Config after = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            equal(Set.of("delete", "compact"), Set.of(after.get("cleanup.policy").value().split(",")));
            equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, after.get("retention.ms").source());
            admin.incrementalAlterConfigs(Map.of(resource, List.of(
                    new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE))))
                    .all().get();
            await(() -> admin.describeConfigs(List.of(resource)).all().get().get(resource)
                    .get("retention.ms").source() != ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        }
    }

    private void adminPartitions() throws Exception {
        String topic = topic(1);
        try (Admin admin = admin()) {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
            await(() -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 4);
        }
    }

    private void adminRecords() throws Exception {
        String topic = topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = producer(); Admin admin = admin()) {
            for (int i = 0; i < 10; i++) {
                producer.send(new ProducerRecord<>(topic, 0, 1000L - i, null, "v" + i)).get();
            }
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get();
            equal(4L, admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all().get().get(partition).offset());
            equal(10L, admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all().get().get(partition).offset());
            equal(4L, admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).all().get().get(partition).offset());
        }
    }

    private void adminGroups() throws Exception {
        String topic = topic(1);
        String group = "group-" + UUID.randomUUID();
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = admin()) {
            try (KafkaConsumer<String, String> consumer = member(group, "classic")) {
                consumer.subscribe(List.of(topic));
                await(() -> { consumer.poll(Duration.ofMillis(100)); return consumer.assignment().size() == 1; });
                consumer.commitSync(Map.of(partition, new OffsetAndMetadata(0)));
                ConsumerGroupDescription found =
                        admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                equal(GroupState.STABLE, found.groupState());
                equal(Set.of(partition), found.members().iterator().next().assignment().topicPartitions());
            }
            await(() -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState() == GroupState.EMPTY);
            check(admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)), "not listed");
            equal(0L, admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(partition).offset());
            admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(7))).all().get();
            equal(7L, admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(partition).offset());
            admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all().get();
            check(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().isEmpty(), "kept an offset");
            admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(7))).all().get();
            admin.deleteConsumerGroups(List.of(group)).all().get();
            check(admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(group)), "still listed");
        }
    }

    private void adminCluster() throws Exception {
        try (Admin admin = admin()) {
            check(!admin.describeCluster().clusterId().get().isEmpty(), "no cluster id");
            equal(1, admin.describeCluster().nodes().get().size());
            check(admin.describeCluster().controller().get() != null, "no controller");
            int node = admin.describeCluster().nodes().get().iterator().next().id();
            check(!admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).isEmpty(), "no log dirs");
            equal(node, admin.describeMetadataQuorum().quorumInfo().get().leaderId());
            equal(1, admin.describeMetadataQuorum().quorumInfo().get().voters().size());
            check(admin.describeFeatures().featureMetadata().get() != null, "no features");
        }
    }

    // --- streams ------------------------------------------------------------------------------

    private void wordCount(String guarantee) throws Exception {
        String lines = topic(2);
        String counts = topic(2);
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(lines)
                .flatMapValues(line -> Arrays.asList(line.toLowerCase(Locale.ROOT).split(" ")))
                .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
                .count(Materialized.as("counts"))
                .toStream()
                .mapValues(String::valueOf)
                .to(counts, Produced.with(Serdes.String(), Serdes.String()));
        Properties settings = new Properties();
        settings.put("application.id", "words-" + UUID.randomUUID());
        settings.put("bootstrap.servers", bootstrap);
        settings.put("state.dir", Files.createTempDirectory("streams").toString());
        settings.put("default.key.serde", Serdes.StringSerde.class.getName());
        settings.put("default.value.serde", Serdes.StringSerde.class.getName());
        settings.put("processing.guarantee", guarantee);
        settings.put("commit.interval.ms", "200");
        settings.put("replication.factor", "1");
        settings.put("auto.offset.reset", "earliest");
        try (KafkaProducer<String, String> producer = producer()) {
            for (int i = 0; i < 100; i++) {
                producer.send(new ProducerRecord<>(lines, "line" + i, "all streams lead to kafka"));
            }
        }
        Map<String, String> expected = new TreeMap<>();
        List.of("all", "streams", "lead", "to", "kafka").forEach(word -> expected.put(word, "100"));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        try (KafkaConsumer<String, String> consumer = consumer("isolation.level", "read_committed")) {
            streams.start();
            consumer.assign(partitions(counts, 2));
            consumer.seekToBeginning(partitions(counts, 2));
            Map<String, String> found = new TreeMap<>();
            await(Duration.ofSeconds(60), () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> found.put(record.key(), record.value()));
                return found.equals(expected);
            });
        } finally {
            streams.close(LONG);
            streams.cleanUp();
        }
    }

    // --- clients ------------------------------------------------------------------------------

    private String topic(int partitions) throws Exception {
        String name = "java-" + UUID.randomUUID();
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(name, Optional.of(partitions), Optional.empty()))).all().get();
        }
        return name;
    }

    private Admin admin() {
        return Admin.create(settings("request.timeout.ms", "15000", "default.api.timeout.ms", "20000"));
    }

    private KafkaProducer<String, String> producer(String... more) {
        Properties settings = settings(more);
        settings.putIfAbsent("delivery.timeout.ms", "30000");
        settings.putIfAbsent("request.timeout.ms", "10000");
        settings.putIfAbsent("max.block.ms", "20000");
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private KafkaProducer<String, String> transactional(String id) {
        KafkaProducer<String, String> producer = producer("transactional.id", id);
        producer.initTransactions();
        return producer;
    }

    private KafkaConsumer<String, String> consumer(String... more) {
        Properties settings = settings(more);
        settings.putIfAbsent("auto.offset.reset", "earliest");
        settings.putIfAbsent("default.api.timeout.ms", "20000");
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private KafkaConsumer<String, String> member(String group, String protocol, String... more) {
        List<String> all = new ArrayList<>(Arrays.asList(more));
        all.addAll(List.of("group.id", group, "group.protocol", protocol, "enable.auto.commit", "false"));
        return consumer(all.toArray(new String[0]));
    }

    private Properties settings(String... pairs) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            settings.put(pairs[i], pairs[i + 1]);
        }
        return settings;
    }

    private List<ConsumerRecord<String, String>> read(String topic, int partitions, int count, String isolation)
            throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer("isolation.level", isolation)) {
            consumer.assign(partitions(topic, partitions));
            consumer.seekToBeginning(partitions(topic, partitions));
            List<ConsumerRecord<String, String>> found = poll(consumer, count);
            consumer.poll(Duration.ofMillis(300)).forEach(found::add);
            equal(count, found.size());
            return found;
        }
    }

    private static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count)
            throws Exception {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        await(() -> {
            consumer.poll(Duration.ofMillis(200)).forEach(found::add);
            return found.size() >= count;
        });
        return found;
    }

    private static Collection<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(new TopicPartition(topic, i));
        }
        return Collections.unmodifiableList(all);
    }

    private static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).collect(Collectors.toList());
    }

    // --- assertions ---------------------------------------------------------------------------

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void await(Condition condition) throws Exception {
        await(LONG, condition);
    }

    private static void await(Duration limit, Condition condition) throws Exception {
        long deadline = System.nanoTime() + limit.toNanos();
        while (!condition.holds()) {
            check(System.nanoTime() < deadline, "not within " + limit);
            Thread.sleep(20);
        }
    }

    private static void fails(Class<? extends Exception> kind, Test test) throws Exception {
        try {
            test.run();
        } catch (ExecutionException error) {
            check(kind.isInstance(error.getCause()), "failed with " + error.getCause());
            return;
        }
        throw new AssertionError("did not fail with " + kind.getSimpleName());
    }

    private static void equal(Object expected, Object found) {
        check(expected.equals(found), "expected " + brief(expected) + ", found " + brief(found));
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() > 200 ? text.substring(0, 200) + "..." : text;
    }

    private static void check(boolean holds, String message) {
        if (!holds) {
            throw new AssertionError(message);
        }
    }
}
