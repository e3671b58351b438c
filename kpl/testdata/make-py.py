"""Runs PyPI's aws_kinesis_agg; README.md says how.

  make   aggregates, written by the library
  read   the user records that the library finds in each line of standard input
"""
import base64
import json
import random
import sys

from aws_kinesis_agg import aggregator, deaggregator


def b64(b):
    return base64.b64encode(b.encode() if isinstance(b, str) else b).decode()


def make():
    rnd = random.Random(20260131)
    tails = ["", "", "é", "日本", "😀", " \t"]
    for n in range(60):
        agg = aggregator.RecordAggregator()
        records = []
        count = rnd.randint(1, 4 if n < 30 else 40)
        keys = 1 if n % 3 == 0 else rnd.randint(1, count)
        for i in range(count):
            k = rnd.randrange(keys)
            key = f"{k}{tails[k % len(tails)]}"
            data = rnd.randbytes(rnd.randrange(700 if i % 7 == 6 else 40))
            ehk = str(rnd.getrandbits(128)) if n % 4 == 1 and rnd.random() < 0.5 else None
            if agg.add_user_record(key, data, ehk) is not None:
                sys.exit("the aggregate is full")
            record = {"key": b64(key), "data": b64(data)}
            if ehk is not None:
                record["ehk"] = b64(ehk)
            records.append(record)
        _, _, data = agg.clear_and_get().get_contents()
        print(json.dumps({"name": f"py {n}", "records": records, "data": b64(data)}))


def read():
    for line in sys.stdin:
        c = json.loads(line)
        outer = {"kinesis": {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "partitionKey": "outer",
                             "approximateArrivalTimestamp": 0, "data": c["data"]}}
        records = []
        for r in deaggregator.deaggregate_records([outer]):
            r = r["kinesis"]
            record = {"sub": r["subSequenceNumber"], "key": b64(r["partitionKey"]), "data": r["data"].decode()}
            if r["explicitHashKey"] is not None:
                record["ehk"] = b64(r["explicitHashKey"])
            records.append(record)
        print(json.dumps({"name": c["name"], "records": records}))


{"make": make, "read": read}[sys.argv[1]]()
