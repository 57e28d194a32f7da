import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.apicurio.registry.utils.converter.avro.AvroData;
import io.apicurio.registry.serde.avro.NonRecordContainer;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.connect.json.JsonConverter;

/**
 * Makes Avro of Connect's JSON, by the code of a real converter.
 *
 * <p>The argument is a file of keys and values as Connect's JSON converter writes them with their
 * schemas, one a line. For each a line {schema, data} goes to standard output: the Avro schema, and
 * the datum in binary, as base64.
 */
public final class Avro {
    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        JsonConverter json = new JsonConverter();
        json.configure(Map.of("schemas.enable", "true"), false);
        AvroData avro = new AvroData(1000);
        ObjectMapper mapper = new ObjectMapper();
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            var connect = json.toConnectData("topic", line.getBytes(StandardCharsets.UTF_8));
            var schema = avro.fromConnectSchema(connect.schema());
            Object datum = avro.fromConnectData(connect.schema(), connect.value());
            if (datum instanceof NonRecordContainer) {
                datum = ((NonRecordContainer) datum).getValue();
            }
            var bytes = new ByteArrayOutputStream();
            var encoder = EncoderFactory.get().directBinaryEncoder(bytes, null);
            new GenericDatumWriter<Object>(schema, GenericData.get()).write(datum, encoder);
            ObjectNode told = mapper.createObjectNode();
            told.set("schema", mapper.readTree(schema.toString()));
            told.put("data", bytes.toByteArray());
            out.println(told);
        }
        out.flush();
    }
}
