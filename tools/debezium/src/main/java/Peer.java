import io.debezium.embedded.async.ConvertingAsyncEngineBuilderFactory;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.Header;
import io.debezium.engine.format.CloudEvents;
import io.debezium.engine.format.JsonByteArray;
import io.debezium.engine.format.KeyValueHeaderChangeEventFormat;
import io.debezium.engine.format.SerializationFormat;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.ArrayList;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Runs a Debezium connector in the embedded engine until it is told to stop by SIGTERM.
 *
 * <p>The only argument is a file of the connector's properties. Records go to standard output as
 * JSON lines {topic, key, value, headers}, or, where the file has properties that begin with
 * "producer.", to Kafka by a producer with those; a batch is acknowledged when Kafka has it. Where
 * the file has a property "cloudevents", values are such.
 */
public final class Peer {
    private static final byte[] NULL = "null".getBytes(StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (var file = Files.newInputStream(Path.of(arguments[0]))) {
            properties.load(file);
        }
        Properties producer = new Properties();
        for (String name : properties.stringPropertyNames()) {
            if (name.startsWith("producer.")) {
                producer.put(name.substring("producer.".length()), properties.remove(name));
            }
        }
        if (properties.remove("cloudevents") != null) {
            run(properties, CloudEvents.class, new Texts());
            return;
        }
        run(properties, JsonByteArray.class, producer.isEmpty() ? new Lines() : new Kafka(producer));
    }

    private static <V> void run(
            Properties properties,
            Class<? extends SerializationFormat<V>> values,
            DebeziumEngine.ChangeConsumer<ChangeEvent<byte[], V>> consumer)
            throws Exception {
        DebeziumEngine<ChangeEvent<byte[], V>> engine =
                DebeziumEngine.create(
                                KeyValueHeaderChangeEventFormat.of(
                                        JsonByteArray.class, values, JsonByteArray.class),
                                ConvertingAsyncEngineBuilderFactory.class.getName())
                        .using(properties)
                        .notifying(consumer)
                        .using(
                                (success, message, error) -> {
                                    if (!success) {
                                        System.err.println("failed: " + message);
                                        if (error != null) {
                                            error.printStackTrace();
                                        }
                                        Runtime.getRuntime().halt(1);
                                    }
                                })
                        .build();
        Thread main = Thread.currentThread();
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(
                                () -> {
                                    try {
                                        engine.close();
                                        main.join(10_000);
                                    } catch (IOException | InterruptedException error) {
                                        error.printStackTrace();
                                    }
                                }));
        engine.run();
    }

    /** JSON lines on standard output. */
    private abstract static class Output<V>
            implements DebeziumEngine.ChangeConsumer<ChangeEvent<byte[], V>> {
        private final PrintStream stdout = System.out;
        private final OutputStream out = new BufferedOutputStream(stdout, 1 << 16);

        Output() {
            System.setOut(System.err); // nothing else may write there
        }

        @Override
        public void handleBatch(
                List<ChangeEvent<byte[], V>> events,
                DebeziumEngine.RecordCommitter<ChangeEvent<byte[], V>> committer)
                throws InterruptedException {
            try {
                for (var event : events) {
                    write("{\"topic\":\"" + event.destination() + "\",\"key\":");
                    out.write(event.key() == null ? NULL : event.key());
                    write(",\"value\":");
                    out.write(event.value() == null ? NULL : bytes(event.value()));
                    write(",\"headers\":{");
                    String comma = "";
                    for (Header<?> header : event.headers()) {
                        write(comma + "\"" + header.getKey() + "\":");
                        out.write(header.getValue() == null ? NULL : (byte[]) header.getValue());
                        comma = ",";
                    }
                    write("}}\n");
                    committer.markProcessed(event);
                }
                out.flush();
            } catch (IOException error) {
                throw new InterruptedException(error.toString());
            }
            committer.markBatchFinished();
        }

        abstract byte[] bytes(V value);

        private void write(String text) throws IOException {
            out.write(text.getBytes(StandardCharsets.UTF_8));
        }
    }

    private static final class Lines extends Output<byte[]> {
        @Override
        byte[] bytes(byte[] value) {
            return value;
        }
    }

    private static final class Texts extends Output<String> {
        @Override
        byte[] bytes(String value) {
            return value.getBytes(StandardCharsets.UTF_8);
        }
    }

    /** Records to Kafka, as a sink of Debezium Server does it. */
    private static final class Kafka
            implements DebeziumEngine.ChangeConsumer<ChangeEvent<byte[], byte[]>> {
        private final KafkaProducer<byte[], byte[]> producer;

        Kafka(Properties properties) {
            producer =
                    new KafkaProducer<>(
                            properties, new ByteArraySerializer(), new ByteArraySerializer());
        }

        @Override
        public void handleBatch(
                List<ChangeEvent<byte[], byte[]>> events,
                DebeziumEngine.RecordCommitter<ChangeEvent<byte[], byte[]>> committer)
                throws InterruptedException {
            List<Future<?>> sent = new ArrayList<>(events.size());
            for (var event : events) {
                var record =
                        new ProducerRecord<byte[], byte[]>(
                                event.destination(), event.partition(), event.key(), event.value());
                for (Header<?> header : event.headers()) {
                    record.headers().add(header.getKey(), (byte[]) header.getValue());
                }
                sent.add(producer.send(record));
            }
            producer.flush();
            try {
                for (int i = 0; i < sent.size(); i++) {
                    sent.get(i).get();
                    committer.markProcessed(events.get(i));
                }
            } catch (java.util.concurrent.ExecutionException error) {
                throw new IllegalStateException(error.getCause());
            }
            committer.markBatchFinished();
        }
    }
}
