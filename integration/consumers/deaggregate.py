"""Takes Kinesis records apart with PyPI's aws_kinesis_agg, which leaves nothing out.

One record a line in, as partition key and data in base64; one user record a line out, as
the number of its line, its sub-sequence number, and in hexadecimal its key and its value.
"""
import base64
import sys

from aws_kinesis_agg import deaggregator

for number, line in enumerate(sys.stdin):
    key, data = line.rstrip("\n").split("\t")
    outer = {"kinesis": {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "approximateArrivalTimestamp": 0,
                         "partitionKey": base64.b64decode(key).decode(), "data": data}}
    for r in deaggregator.deaggregate_records([outer]):
        r = r["kinesis"]
        print(number, r.get("subSequenceNumber", 0), r["partitionKey"].encode().hex(), base64.b64decode(r["data"]).hex(), sep="\t")
