// What a CRM does with the webhook: checks the signature and the age of each event, takes each once, prints it. node receiver.mjs [port]
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const secret = readFileSync(new URL('webhook.secret', import.meta.url), 'utf8').trim()
const seen = new Set()

function isSigned(body, header = '') {
  const { t, v1 = '' } = Object.fromEntries(header.split(',').map(part => part.split('=')))
  const mine = createHmac('sha256', secret).update(`${t}.`).update(body).digest()
  const theirs = Buffer.from(v1, 'hex')
  return Math.abs(Date.now() / 1000 - t) < 300 && theirs.length === mine.length && timingSafeEqual(theirs, mine)
}

const server = createServer(async (request, response) => {
  const parts = []
  for await (const part of request) parts.push(part)
  const body = Buffer.concat(parts)
  if (!isSigned(body, request.headers['ocs-signature'])) return response.writeHead(401).end()
  response.writeHead(204).end()
  const { id, type, at, account, data } = JSON.parse(body)
  if (seen.has(id)) return
  seen.add(id)
  console.log(at, account ?? '-', type, JSON.stringify(data))
})
server.listen(Number(process.argv[2] ?? 9911), '127.0.0.1', () => console.log(`listening at ${server.address().port}`))
