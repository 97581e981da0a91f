import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import t from 'tap'
import { startScratchStore } from '../../src/store/scratch.js'

const say = (socket: string, words: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const connection = connect(socket, () => connection.write(`${words}\r\n`))
    connection.once('data', data => {
      connection.destroy()
      resolve(data.toString('latin1').trim())
    })
    connection.once('error', reject)
  })

void t.test('a scratch store serves, keeps nothing on the disk, and leaves nothing behind', async t => {
  const store = (await startScratchStore())!
  t.teardown(() => store.stop())
  t.equal(await say(store.socket, 'SET a 1'), '+OK')
  t.equal(await say(store.socket, 'CONFIG GET appendonly'), '*2\r\n$10\r\nappendonly\r\n$2\r\nno')
  const other = (await startScratchStore())!
  t.equal(await say(other.socket, 'GET a'), '$-1', 'each has a store of its own')
  await other.stop()
  await store.stop()
  await store.stop()
  t.notOk(existsSync(dirname(store.socket)))
  await t.rejects(say(store.socket, 'PING'))
})

void t.test('what does not start says why; where there is no redis-server there is no store', async t => {
  await t.rejects(startScratchStore('/bin/true'), { message: /redis-server 7.0 or newer is needed/ })
  await t.rejects(startScratchStore('/nonexistent/redis-server'), { message: /cannot be executed/ })
  if (existsSync('.tools/bin/redis-server')) return
  const { PATH } = process.env
  process.env['PATH'] = '/nonexistent'
  try {
    t.equal(await startScratchStore(), undefined)
  } finally {
    process.env['PATH'] = PATH
  }
})
