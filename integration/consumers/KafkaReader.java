// A consumer group of the Java client. It writes one line for each record: partition,
// offset, the last header named "bridge" in hexadecimal or "-", and the value. It ends once
// it has read what it is allowed of every partition, or was idle for a while.
//
//   java -cp 'jars/*' KafkaReader.java BROKERS GROUP TOPIC OUT IDLE-SECONDS commit|look PROTOCOL [PARTITION=LIMIT...]

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class KafkaReader {
  public static void main(String[] a) throws Exception {
    Properties p = new Properties();
    p.put("bootstrap.servers", a[0]);
    p.put("group.id", a[1]);
    p.put("enable.auto.commit", "false");
    p.put("auto.offset.reset", "none"); // a partition without an offset is an error
    p.put("isolation.level", "read_committed");
    p.put("group.protocol", a[6]);
    Map<Integer, Integer> limits = new HashMap<>();
    for (int i = 7; i < a.length; i++) {
      String[] kv = a[i].split("=");
      limits.put(Integer.parseInt(kv[0]), Integer.parseInt(kv[1]));
    }
    long idle = Long.parseLong(a[4]) * 1_000_000_000L;
    Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
    Map<Integer, Integer> read = new HashMap<>();
    try (PrintWriter out = new PrintWriter(a[3], StandardCharsets.UTF_8);
        KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      c.subscribe(List.of(a[2]));
      long last = System.nanoTime();
      boolean assigned = false;
      while (System.nanoTime() - last < idle || !assigned) {
        for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(200))) {
          int n = read.getOrDefault(r.partition(), 0);
          Integer limit = limits.get(r.partition());
          if (limit != null && n >= limit) continue;
          read.put(r.partition(), n + 1);
          next.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
          Header h = r.headers().lastHeader("bridge");
          String hex = h == null ? "-" : HexFormat.of().formatHex(h.value());
          out.println(r.partition() + "\t" + r.offset() + "\t" + hex + "\t" + new String(r.value(), StandardCharsets.UTF_8));
          last = System.nanoTime();
        }
        if (!assigned && !c.assignment().isEmpty()) {
          assigned = true;
          last = System.nanoTime();
        }
      }
      if (a[5].equals("commit") && !next.isEmpty()) c.commitSync(next);
    }
  }
}
