// kafkajs as a user would write it; see ../README.md for the words it understands. It has neither static members nor a
// cooperative assignor.

const fs = require('node:fs')
const { spawnSync } = require('node:child_process')
const { AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, KafkaJSError, logLevel } = require('kafkajs')
const lz4 = require('lz4js')
const xxh32 = require('lz4js/xxh32.js')
const snappy = require('snappyjs')
const { ZstdCodec } = require('zstd-codec')

const PATIENCE_MS = 120000
const [word, ...pairs] = process.argv.slice(2)
const args = Object.fromEntries(pairs.map(pair => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))
const kafka = new Kafka({ clientId: 'kafkajs', brokers: args.bootstrap.split(','), logLevel: logLevel.NOTHING, retry: { retries: 8 } })

const fail = what => {
  console.error(`kafkajs: ${what}`)
  process.exit(1)
}
const want = (condition, what) => condition || fail(what)

const until = async (what, holds, patience = PATIENCE_MS) => {
  const end = Date.now() + patience
  while (!(await holds())) {
    want(Date.now() < end, typeof what === 'function' ? what() : what)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

// --- codecs, which kafkajs leaves to its users ------------------------------------------------------------------------

// Java's snappy frame: a magic, two versions, then blocks with their sizes.
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])
const unsnappy = data => {
  if (!data.subarray(0, 8).equals(XERIAL.subarray(0, 8))) return Buffer.from(snappy.uncompress(data))
  const blocks = []
  for (let at = 16; at < data.length;) {
    const size = data.readInt32BE(at)
    blocks.push(Buffer.from(snappy.uncompress(data.subarray(at + 4, at + 4 + size))))
    at += 4 + size
  }
  return Buffer.concat(blocks)
}
// lz4js leaves out the flag that its blocks stand alone, and Kafka refuses frames without it.
const lz4frame = data => {
  const frame = Buffer.from(lz4.compress(data))
  frame[4] |= 0x20
  frame[6] = (xxh32.hash(0, frame, 4, 2) >> 8) & 0xff
  return frame
}
const zstd = new Promise(resolve => ZstdCodec.run(codec => resolve(new codec.Simple())))
const codec = (compress, decompress) => () => ({ compress: async encoder => compress(encoder.buffer), decompress: async data => decompress(data) })

CompressionCodecs[CompressionTypes.Snappy] = codec(data => Buffer.from(snappy.compress(data)), unsnappy)
CompressionCodecs[CompressionTypes.LZ4] = codec(lz4frame, data => Buffer.from(lz4.decompress(data)))
CompressionCodecs[CompressionTypes.ZSTD] = codec(
  async data => Buffer.from((await zstd).compress(data)), async data => Buffer.from((await zstd).decompress(data)))

// --- records ----------------------------------------------------------------------------------------------------------

const unhex = text => (text === '-' ? null : Buffer.from(text, 'hex'))
const tohex = data => (data === null || data === undefined ? '-' : Buffer.from(data).toString('hex'))

const records = () => fs.readFileSync(args.file, 'utf8').trimEnd().split('\n').map(line => {
  const [partition, timestamp, key, value, headers] = line.split('\t')
  const message = { partition: Number(partition), timestamp, key: unhex(key), value: unhex(value), headers: {} }
  for (const header of headers ? headers.split(',') : []) {
    const [name, bytes] = header.split(':')
    const value = unhex(bytes) ?? Buffer.alloc(0) // kafkajs cannot send a header without a value
    // One name with several values is a list.
    const before = message.headers[name]
    message.headers[name] = before === undefined ? value : [].concat(before, value)
  }
  return message
})

const headersOf = message => Object.entries(message.headers ?? {}).flatMap(
  ([name, value]) => (Array.isArray(value) ? value : [value]).map(one => `${name}:${tohex(one)}`)).join(',')

const produce = async () => {
  const compression = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }[args.compression ?? 'none']
  const producer = kafka.producer({ idempotent: args.idempotence === 'true', allowAutoTopicCreation: false })
  await connect(producer)
  const messages = records()
  for (let at = 0; at < messages.length; at += 50) {
    const answers = await producer.send({
      topic: args.topic, acks: -1, compression: CompressionTypes[compression], messages: messages.slice(at, at + 50) })
    for (const answer of answers) want(answer.errorCode === 0 && Number(answer.baseOffset) >= 0, JSON.stringify(answer))
  }
  await producer.disconnect()
}

const consumer = (groupId, more = {}) => kafka.consumer({
  groupId, sessionTimeout: 10000, heartbeatInterval: 500, rebalanceTimeout: 10000, maxWaitTimeInMs: 200, allowAutoTopicCreation: false, ...more })

// By place: a member that has to join again reads again what it has not committed, and nothing ever is.
const consume = async () => {
  const lines = new Map()
  let times = 0
  let last = ''
  // What kafkajs holds for final ends a consumer for good; whoever uses it begins again. With another group: a member that
  // nobody heard leaving stays in the old one, and for longer if the coordinator moves meanwhile.
  const begin = async () => {
    const reader = consumer(`unused-${process.pid}-${times++}`, { retry: { retries: 8, restartOnFailure: async () => false } })
    reader.on(reader.events.CRASH, ({ payload }) => {
      last = `, and then: ${payload.error.message}`
      current = begin()
    })
    await connect(reader)
    await reader.subscribe({ topic: args.topic, fromBeginning: true })
    await reader.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        const line = [partition, message.offset, message.timestamp, tohex(message.key), tohex(message.value), headersOf(message)].join('\t')
        lines.set(`${partition}/${message.offset}`, line)
      },
    })
    return reader
  }
  let current = begin()
  await until(() => `read ${lines.size} of ${args.count} records${last}`, () => lines.size >= Number(args.count))
  await (await current).disconnect()
  fs.writeFileSync(args.out, [...lines.values()].map(line => `${line}\n`).join(''))
}

// --- groups -----------------------------------------------------------------------------------------------------------

const seen = new Set()

const join = async (more = {}) => {
  const member = consumer(args.group, more)
  const state = { held: [], places: [], leave: () => member.disconnect(), consumer: member }
  member.on(member.events.GROUP_JOIN, ({ payload }) => { state.held = payload.memberAssignment[args.topic] ?? [] })
  await connect(member)
  await member.subscribe({ topic: args.topic, fromBeginning: true })
  await member.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      state.places.push(`${partition}/${message.offset}`)
      seen.add(`${partition}/${message.offset}`)
    },
  })
  return state
}

const rebalance = async () => {
  const members = await Promise.all([join(), join(), join()])
  const shares = () => members.map(member => member.held.length).sort().join()
  await until('three members do not hold two partitions each', () => shares() === '2,2,2')
  want(new Set(members.flatMap(member => member.held)).size === 6, 'not all partitions are held')
  await members.pop().leave()
  await until('two members do not hold three partitions each', () => shares() === '3,3')
  await until(() => `saw ${seen.size} of ${args.count} records`, () => seen.size === Number(args.count))
  await Promise.all(members.map(member => member.leave()))
}

const commit = async () => {
  const first = await join()
  await until('offset 4 of partition 0 did not come', () => first.places.includes('0/4'))
  await first.consumer.commitOffsets([{ topic: args.topic, partition: 0, offset: '5', metadata: 'half way' }])
  await first.leave()
  await withAdmin(async admin => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: args.group, topics: [args.topic] })
    const found = partitions.find(place => place.partition === 0)
    want(found.offset === '5' && found.metadata === 'half way', `committed 5, found ${JSON.stringify(found)}`)
  }, UNANSWERED)
  const second = await join()
  await until('nothing more came', () => second.places.some(place => place.startsWith('0/')))
  const resumed = second.places.find(place => place.startsWith('0/'))
  want(resumed === '0/5', `went on at ${resumed} and not at 0/5`)
  await second.leave()
}

// --- offsets and administration ---------------------------------------------------------------------------------------

// Makes the call again for as long as it fails in a way that passes.
const again = async (what, passes, call) => {
  let said
  await until(what, async () => {
    try {
      said = await call()
      return true
    } catch (problem) {
      if (!passes(problem)) throw problem
      return false
    }
  })
  return said
}

// kafkajs gives an administrator's call up when the broker that it chose does not run; nobody has heard the call then.
const UNHEARD = problem => /ECONNREFUSED/.test(problem.message)
// Or when it died meanwhile, or when leaders and coordinators moved: what may be asked twice is asked again.
const UNANSWERED = problem => problem.retriable || problem.cause?.retriable
const patient = (client, lost) => new Proxy(client, {
  get: (_, name) => (...words) => again(`nobody heard ${name}`, lost, () => client[name](...words)),
})

// The same for connecting, in which an idempotent producer asks for its id.
const connect = client => patient(client, UNANSWERED).connect()

const withAdmin = async (work, lost = UNHEARD) => {
  const admin = kafka.admin()
  await connect(admin)
  try {
    await work(patient(admin, lost))
  } finally {
    await admin.disconnect()
  }
}

const never = () => false
// How an attempt ends that somebody should make again.
const TRY_AGAIN = 75
// One attempt takes 15 s where nothing fails, and fails if a broker is killed at the wrong moment of them.
const ATTEMPTS_MS = 280000

// For every change kafkajs joins the group and leaves again. Where that fails half way, its member stays for as long as the
// process lives, or until its session ends, which begins anew where the coordinator moves: each attempt has a process and a group.
const offsets = async () => {
  const passes = problem => UNANSWERED(problem) || /no running instances/.test(problem.message)
  if (args.attempt) return attempt().catch(problem => (passes(problem) ? process.exit(TRY_AGAIN) : Promise.reject(problem)))
  let times = 0
  await until('no attempt came to its end', async () => {
    const { status, stderr } = spawnSync(process.execPath, [__filename, word, ...pairs, `attempt=${++times}`], { encoding: 'utf8' })
    want(status === 0 || status === TRY_AGAIN, stderr)
    return status === 0
  }, ATTEMPTS_MS)
}

const attempt = () => withAdmin(async admin => {
  const times = records().filter(record => record.partition === 0).map(record => Number(record.timestamp))
  const middle = times.length / 2
  const [first] = (await admin.fetchTopicOffsets(args.topic)).filter(place => place.partition === 0)
  want(first.low === '0' && first.high === String(times.length), `partition 0 spans ${first.low} to ${first.high}`)
  const [found] = (await admin.fetchTopicOffsetsByTimestamp(args.topic, times[middle])).filter(place => place.partition === 0)
  want(found.offset === String(middle), `the middle is at ${found.offset}`)
  // kafkajs commits the earliest and latest markers themselves and expects them back.
  const group = { groupId: `reset-${args.topic}-${args.attempt}`, topic: args.topic }
  await admin.setOffsets({ ...group, partitions: [{ partition: 0, offset: '7' }] })
  await admin.resetOffsets({ ...group, earliest: true })
  const [reset] = await admin.fetchOffsets({ groupId: group.groupId, topics: [args.topic], resolveOffsets: true })
  want(reset.partitions.find(place => place.partition === 0).offset === '0', `reset to ${JSON.stringify(reset)}`)
}, never)

const refused = async (type, what, promise) => {
  try {
    await promise
  } catch (problem) {
    const text = `${problem.type} ${problem.message} ${JSON.stringify(problem.errors ?? problem.groups ?? '')}`
    want(problem instanceof KafkaJSError && text.includes(type), `${what} said ${text}`)
    return
  }
  fail(`${what} was not refused`)
}

const admin = () => withAdmin(async client => {
  const { topic, group } = args
  want(await client.createTopics({ topics: [{ topic, numPartitions: 2, configEntries: [{ name: 'retention.ms', value: '3600000' }] }] }), 'create')
  want((await client.createTopics({ topics: [{ topic, numPartitions: 2 }] })) === false, 'a topic was created twice')
  const config = async name => {
    const { resources } = await client.describeConfigs({ includeSynonyms: true, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
    return resources[0].configEntries.find(entry => entry.configName === name).configValue
  }
  await until('retention.ms as created', async () => (await config('retention.ms')) === '3600000')
  await client.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'segment.ms', value: '60000' }] }] })
  await until('segment.ms as altered', async () => (await config('segment.ms')) === '60000')
  want((await config('retention.ms')) === '604800000', 'the old AlterConfigs replaces everything')

  await client.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
  await until('four partitions', async () => {
    const { topics } = await client.fetchTopicMetadata({ topics: [topic] })
    return topics[0].partitions.length === 4 && topics[0].partitions.every(partition => partition.leader >= 0)
  })
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  await producer.send({ topic, messages: Array.from({ length: 10 }, () => ({ partition: 0, value: 'x' })) })
  await producer.disconnect()
  await client.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] })
  const [low] = (await client.fetchTopicOffsets(topic)).filter(place => place.partition === 0)
  want(low.low === '6', `the earliest offset is ${low.low}`)

  const member = await join()
  await until('the member has no partitions', () => member.held.length === 4)
  const { groups } = await client.describeGroups([group])
  want(groups[0].state === 'Stable' && groups[0].members.length === 1, `the group is ${groups[0].state}`)
  want(AssignerProtocol.MemberAssignment.decode(groups[0].members[0].memberAssignment).assignment[topic].length === 4, 'the described assignment')
  want((await client.listGroups()).groups.some(listed => listed.groupId === group), 'the group in the list')
  await refused('NON_EMPTY_GROUP', 'deleting a busy group', client.deleteGroups([group]))
  await member.leave()
  await client.deleteGroups([group])
  const cluster = await client.describeCluster()
  want(cluster.brokers.length > 0 && cluster.clusterId, 'brokers and a cluster id')
  await client.deleteTopics({ topics: [topic] })
  await until('the topic is still there', async () => !(await client.listTopics()).includes(topic))
})

const cases = { produce, consume, rebalance, commit, offsets, admin }
want(cases[word], `no case ${word}`)
cases[word]().then(() => process.exit(0), problem => fail(problem.stack))
