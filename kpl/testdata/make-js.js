// Runs npm's aws-kinesis-agg; README.md says how.
//
//   make   aggregates, written by the library
//   read   the user records that the library finds in each line of standard input
'use strict';
const agg = require('aws-kinesis-agg');
const deagg = require('aws-kinesis-agg/lib/kpl-deagg');
const fs = require('fs');

const b64 = (s) => Buffer.from(s).toString('base64');

// A small generator with a seed, so that each run makes the same.
let state = 20260131;
const random = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};

// Keys never look like small numbers: the library keeps its tables in the order of
// Object.keys, which puts such keys first, and then its indexes point to the wrong ones.
function make() {
  const tails = ['', '', 'é', '日本', '😀', ' \t'];
  for (let n = 0; n < 60; n++) {
    const aggregator = new agg.RecordAggregator();
    const records = [];
    const count = 1 + random(n < 30 ? 4 : 40);
    const keys = n % 3 === 0 ? 1 : 1 + random(count);
    for (let i = 0; i < count; i++) {
      const k = random(keys);
      const record = { partitionKey: `key${k}${tails[k % tails.length]}`, data: Buffer.alloc(random(i % 7 === 6 ? 700 : 40), random(256)) };
      if (n % 4 === 1 && random(2) === 0) record.explicitHashKey = `1${random(20)}00000000000000000000`;
      records.push({
        key: b64(record.partitionKey),
        ...(record.explicitHashKey && { ehk: b64(record.explicitHashKey) }),
        data: record.data.toString('base64'),
      });
      aggregator.addUserRecord(record);
    }
    console.log(JSON.stringify({ name: `js ${n}`, records, data: aggregator.build().data.toString('base64') }));
  }
}

function read() {
  for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
    const c = JSON.parse(line);
    deagg.deaggregateSync({ partitionKey: 'outer', sequenceNumber: '1', data: c.data }, true, (err, got) => {
      if (err) throw err;
      const records = got.map((r) => ({
        sub: r.subSequenceNumber,
        key: b64(r.partitionKey),
        ...(r.explicitPartitionKey !== undefined && { ehk: b64(r.explicitPartitionKey) }),
        data: r.data,
      }));
      console.log(JSON.stringify({ name: c.name, records }));
    });
  }
}

({ make, read })[process.argv[2]]();
