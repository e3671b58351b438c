// A consumer application on the Kinesis Client Library 1.x, which does what KclConsumer does.
//
//   java -cp 'jars/*' Kcl1Consumer.java APP STREAM KINESIS DYNAMODB OUT IDLE-SECONDS [SHARD=LIMIT...]

import com.amazonaws.auth.*;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.*;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.*;
import com.amazonaws.services.kinesis.clientlibrary.types.*;
import com.amazonaws.services.kinesis.metrics.impl.NullMetricsFactory;
import com.amazonaws.services.kinesis.model.Record;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.atomic.*;

public class Kcl1Consumer {
  static final Map<String, Integer> limits = new HashMap<>();
  static final AtomicLong lastWork = new AtomicLong(System.nanoTime());
  static final AtomicBoolean began = new AtomicBoolean();
  static PrintWriter out;

  static class Processor implements IRecordProcessor {
    String shard;
    int done;

    public void initialize(InitializationInput in) {
      shard = in.getShardId();
      begin();
    }

    public void processRecords(ProcessRecordsInput in) {
      try {
        UserRecord last = null;
        for (Record each : in.getRecords()) {
          UserRecord r = (UserRecord) each;
          Integer limit = limits.get(shard);
          if (limit != null && done >= limit) return;
          byte[] value = new byte[r.getData().remaining()];
          r.getData().duplicate().get(value);
          synchronized (out) {
            out.println(shard + "\t" + r.getSequenceNumber() + "\t" + r.getSubSequenceNumber() + "\t" + new String(value, StandardCharsets.UTF_8));
            out.flush();
          }
          done++;
          begin();
          last = r;
          if (limit != null && done == limit) in.getCheckpointer().checkpoint(r.getSequenceNumber(), r.getSubSequenceNumber());
        }
        if (limits.get(shard) == null && last != null) in.getCheckpointer().checkpoint(last.getSequenceNumber(), last.getSubSequenceNumber());
      } catch (Exception e) {
        throw new RuntimeException(e);
      }
    }

    public void shutdown(ShutdownInput in) {
      if (in.getShutdownReason() != ShutdownReason.TERMINATE) return;
      try {
        Integer limit = limits.get(shard);
        if (limit != null && done >= limit) {
          while (true) Thread.sleep(1000); // nobody says that the shard is over
        }
        in.getCheckpointer().checkpoint();
        begin();
      } catch (Exception e) {
        throw new RuntimeException(e);
      }
    }
  }

  static void begin() {
    began.set(true);
    lastWork.set(System.nanoTime());
  }

  public static void main(String[] a) throws Exception {
    String app = a[0], stream = a[1];
    out = new PrintWriter(a[4], StandardCharsets.UTF_8);
    long idle = Long.parseLong(a[5]);
    for (int i = 6; i < a.length; i++) {
      String[] kv = a[i].split("=");
      limits.put(kv[0], Integer.parseInt(kv[1]));
    }
    AWSCredentialsProvider who = new AWSStaticCredentialsProvider(new BasicAWSCredentials("test", "test"));
    KinesisClientLibConfiguration c = new KinesisClientLibConfiguration(app, stream, who, UUID.randomUUID().toString())
        .withRegionName("us-east-1").withKinesisEndpoint(a[2]).withDynamoDBEndpoint(a[3])
        .withInitialPositionInStream(InitialPositionInStream.TRIM_HORIZON).withFailoverTimeMillis(3000).withShardSyncIntervalMillis(1000)
        .withParentShardPollIntervalMillis(500).withIdleTimeBetweenReadsInMillis(200);
    Thread t = new Thread(new Worker.Builder().recordProcessorFactory(Processor::new).config(c).metricsFactory(new NullMetricsFactory()).build());
    t.setDaemon(true);
    t.start();
    long start = System.nanoTime();
    while (true) {
      Thread.sleep(100);
      long quiet = System.nanoTime() - lastWork.get();
      if (began.get() && quiet > idle * 1_000_000_000L) break;
      if (System.nanoTime() - start > 180_000_000_000L) {
        System.err.println("it took no lease in 180 s");
        Runtime.getRuntime().halt(1);
      }
    }
    System.out.println("quiet");
    while (System.in.read() >= 0) {}
    out.close();
    Runtime.getRuntime().halt(0); // all that was processed is checkpointed
  }
}
