// A member by KafkaJS.
'use strict'

const { Kafka, logLevel } = require('kafkajs')

const SESSION_TIMEOUT_MS = 6_000
const HEARTBEAT_INTERVAL_MS = 500

async function main() {
  const [bootstrap, topic, groupId, , name] = process.argv.slice(2)
  // Files are written to at once, a line with each call.
  const say = (what) => process.stdout.write(`${name} ${what}\n`)

  const kafka = new Kafka({
    brokers: [bootstrap],
    logLevel: logLevel.ERROR,
    retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 50 },
  })
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: SESSION_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_INTERVAL_MS,
    maxWaitTimeInMs: 100,
  })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    say(['assigned', ...(payload.memberAssignment[topic] ?? [])].join(' '))
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
      if (!isRunning() || isStale()) return
      for (const message of batch.messages) {
        say(`read ${batch.partition} ${message.offset}`)
        resolveOffset(message.offset)
      }
      const offset = (BigInt(batch.lastOffset()) + 1n).toString()
      await consumer.commitOffsets([{ topic, partition: batch.partition, offset }])
      say(`committed ${batch.partition} ${offset}`)
      await heartbeat()
    },
  })
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
