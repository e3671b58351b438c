// Runs the de-aggregator and the protobuf classes of the Kinesis Client Library; README.md
// says how.
//
//   make   aggregates, written by the library's protobuf classes
//   read   adds to each line of standard input what the library makes of it; with one more
//          argument, of any kind, it leaves the data out
//   text   what Java makes of bytes that are not UTF-8, and of numbers

import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.kpl.Messages;

class MakeKcl {
    static final ObjectMapper JSON = new ObjectMapper();
    static final PrintStream OUT = System.out;

    public static void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        switch (args[0]) {
            case "make": make(); break;
            case "read": read(args.length > 1); break;
            case "text": text(); break;
            default: throw new IllegalArgumentException(args[0]);
        }
        OUT.flush();
    }

    static String b64(byte[] b) { return Base64.getEncoder().encodeToString(b); }

    static String b64(String s) { return s == null ? null : b64(s.getBytes(StandardCharsets.UTF_8)); }

    static void line(Object o) throws Exception {
        OUT.write(JSON.writeValueAsBytes(o));
        OUT.write('\n');
    }

    // read: one record at a time, so that what is logged belongs to it.
    @SuppressWarnings("unchecked")
    static void read(boolean brief) throws Exception {
        AggregatorUtil util = new AggregatorUtil();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String l; (l = in.readLine()) != null; ) {
            Map<String, Object> c = JSON.readValue(l, LinkedHashMap.class);
            KinesisClientRecord r = KinesisClientRecord.builder()
                    .data(ByteBuffer.wrap(Base64.getDecoder().decode((String) c.get("data"))))
                    .partitionKey("outer").sequenceNumber("1").build();
            ByteArrayOutputStream log = new ByteArrayOutputStream();
            PrintStream err = System.err;
            System.setErr(new PrintStream(log, true));
            List<KinesisClientRecord> got;
            String thrown = null;
            try {
                got = util.deaggregate(List.of(r), (String) c.get("start"), (String) c.get("end"));
            } catch (Throwable t) {
                got = List.of();
                thrown = t.getClass().getName();
            } finally {
                System.setErr(err);
            }
            c.put("plain", got.size() == 1 && !got.get(0).aggregated());
            c.put("logged", log.size() > 0);
            if (thrown != null) c.put("thrown", thrown);
            List<Object> records = new ArrayList<>();
            for (KinesisClientRecord u : got) {
                if (!u.aggregated()) continue;
                Map<String, Object> m = new LinkedHashMap<>();
                byte[] data = new byte[u.data().remaining()];
                u.data().get(data);
                m.put("sub", u.subSequenceNumber());
                m.put("key", b64(u.partitionKey()));
                if (u.explicitHashKey() != null) m.put("ehk", b64(u.explicitHashKey()));
                m.put("data", b64(data));
                records.add(m);
            }
            c.put("records", records);
            if (brief) c.remove("data");
            line(c);
        }
    }

    // make: the tables hold the keys in the order of their first use, as the KPL has them.
    static void make() throws Exception {
        Random rnd = new Random(20260131);
        for (int n = 0; n < 60; n++) {
            Messages.AggregatedRecord.Builder ar = Messages.AggregatedRecord.newBuilder();
            List<String> pks = new ArrayList<>(), ehks = new ArrayList<>();
            List<Object> records = new ArrayList<>();
            int count = n == 59 ? 400 : 1 + rnd.nextInt(n < 30 ? 4 : 40);
            int keys = n % 3 == 0 ? 1 : 1 + rnd.nextInt(count);
            for (int i = 0; i < count; i++) {
                Map<String, Object> m = new LinkedHashMap<>();
                String key = text(rnd, keys, "k");
                String ehk = n % 4 == 1 && rnd.nextBoolean() ? new BigInteger(128, rnd).toString() : null;
                if (i > 0 && ehk != null && rnd.nextBoolean() && !ehks.isEmpty()) ehk = ehks.get(rnd.nextInt(ehks.size()));
                byte[] data = new byte[i % 5 == 4 ? 0 : rnd.nextInt(i % 7 == 6 ? 700 : 40)];
                rnd.nextBytes(data);
                Messages.Record.Builder r = Messages.Record.newBuilder();
                r.setPartitionKeyIndex(indexOf(pks, key));
                if (ehk != null) r.setExplicitHashKeyIndex(indexOf(ehks, ehk));
                r.setData(ByteString.copyFrom(data));
                m.put("key", b64(key));
                if (ehk != null) m.put("ehk", b64(ehk));
                m.put("data", b64(data));
                List<Object> tags = new ArrayList<>();
                for (int t = rnd.nextInt(8) - 5; t > 0; t--) {
                    Messages.Tag.Builder tag = Messages.Tag.newBuilder().setKey(text(rnd, 9, "tag"));
                    Map<String, Object> tm = new LinkedHashMap<>();
                    tm.put("key", b64(tag.getKey()));
                    if (rnd.nextInt(3) > 0) {
                        tag.setValue(rnd.nextInt(4) == 0 ? "" : text(rnd, 99, "value "));
                        tm.put("value", b64(tag.getValue()));
                    }
                    r.addTags(tag);
                    tags.add(tm);
                }
                if (!tags.isEmpty()) m.put("tags", tags);
                ar.addRecords(r);
                records.add(m);
            }
            ar.addAllPartitionKeyTable(pks);
            ar.addAllExplicitHashKeyTable(ehks);
            byte[] message = ar.build().toByteArray();
            ByteArrayOutputStream b = new ByteArrayOutputStream();
            b.write(AggregatorUtil.AGGREGATED_RECORD_MAGIC);
            b.write(message);
            b.write(MessageDigest.getInstance("MD5").digest(message));
            Map<String, Object> c = new LinkedHashMap<>();
            c.put("name", "kcl " + n);
            c.put("records", records);
            c.put("data", b64(b.toByteArray()));
            line(c);
        }
    }

    static int indexOf(List<String> table, String key) {
        if (!table.contains(key)) table.add(key);
        return table.indexOf(key);
    }

    static String text(Random rnd, int n, String prefix) {
        String[] tails = {"", "", "", "é", "日本", "😀", " \t"};
        int i = rnd.nextInt(n);
        return prefix + i + tails[i % tails.length];
    }

    static void text() throws Exception {
        StringBuilder zeros = new StringBuilder();
        int digits = 0;
        for (int c = 0; c < 0x10000; c++) {
            int d = Character.digit((char) c, 10);
            if (d >= 0) digits++;
            if (d == 0) zeros.append((char) c);
        }
        for (char z : zeros.toString().toCharArray())
            for (int i = 0; i < 10; i++) if (Character.digit((char) (z + i), 10) != i) throw new IllegalStateException();
        if (digits != 10 * zeros.length()) throw new IllegalStateException();
        line(Map.of("zeros", zeros.toString()));

        // Bytes at the edges of what UTF-8 allows, so that random strings meet its rules.
        int[] edges = {0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
            0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff, 0x80, 0xa0, 0xbf, 0x90};
        Random rnd = new Random(7);
        for (int n = 0; n < 3000; n++) {
            byte[] b = new byte[1 + rnd.nextInt(7)];
            for (int i = 0; i < b.length; i++) b[i] = (byte) edges[rnd.nextInt(edges.length)];
            Map<String, Object> m = new LinkedHashMap<>();
            m.put("bytes", b64(b));
            m.put("string", b64(new String(b, StandardCharsets.UTF_8)));
            line(m);
        }
        List<String> numbers = new ArrayList<>(List.of("", "0", "-0", "+0", "+", "-", "+-1", "-+1", "--1", "++1", "1-", "1+", " 1",
            "1 ", "007", "-5", "1e3", "0x10", "1_0", "١٢٣", "１２", "٠٠", "𝟏𝟐", "1𝟏", "²", "Ⅷ", "½", "a",
            "340282366920938463463374607431768211455", "340282366920938463463374607431768211456",
            "-340282366920938463463374607431768211456", "00000000000340282366920938463463374607431768211455",
            "99999999999999999999999999999999999999999999999999999", "1234567890-1234567890", "123456789+"));
        String alphabet = "0123456789-+٣９𝟏 a";
        for (int n = 0; n < 600; n++) {
            StringBuilder s = new StringBuilder();
            for (int i = rnd.nextInt(44); i >= 0; i--) {
                int at = rnd.nextInt(rnd.nextInt(40) == 0 ? alphabet.length() : 10);
                s.append(alphabet.charAt(at));
            }
            numbers.add(s.toString());
        }
        for (String s : numbers) {
            Map<String, Object> m = new LinkedHashMap<>();
            m.put("text", b64(s));
            try {
                m.put("number", new BigInteger(s).toString());
            } catch (NumberFormatException e) {
                m.put("number", null);
            }
            line(m);
        }
    }
}
