/**
 * The scripts of lua/, ready for ioredis: includes pasted once, keys counted, digests for the log.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'

export interface Script {
  readonly name: string
  readonly lua: string
  readonly sha: string
  /** Keys named in the text as KEYS[n]. */
  readonly keys: number
}

const folder = new URL('../../lua/', import.meta.url)

/** Reads every script of the folder; an include named twice, or missing, is a defect of ours. */
export function loadScripts(from: URL = folder): Map<string, Script> {
  const scripts = new Map<string, Script>()
  for (const file of readdirSync(from).filter(name => name.endsWith('.lua'))) {
    const name = file.slice(0, -'.lua'.length)
    const lua = inOneFunction(readFileSync(new URL(file, from), 'utf8')).replaceAll(includeLine, (_, include: string) =>
      readFileSync(new URL(`include/${include}.lua`, from), 'utf8'),
    )
    const keys = Math.max(...[...lua.matchAll(/KEYS\[(\d+)\]/g)].map(([, n]) => Number(n)))
    scripts.set(name, { name, lua, sha: createHash('sha1').update(lua).digest('hex'), keys })
  }
  return scripts
}

const includeLine = /^-- @include (\S+)$/gm

/**
 * What follows the includes at the top becomes a function of its own: what it takes of them, and what its own functions take, is then
 * found at once, where Lua 5.1 else goes along all locals that are in use for each of them (4 % of a charge's instructions). Lines
 * stay. Includes further down are parts of that function.
 */
function inOneFunction(text: string): string {
  const top = /^(?:-- @include \S+\n)+/m.exec(text)
  if (!top) return text
  const end = top.index + top[0].length
  return `${text.slice(0, end)}return (function() ${text.slice(end)}\nend)()\n`
}

/** What the scripts are as commands: keys, then arguments, all text; one text back. */
export interface ScriptCommands {
  charge(...args: string[]): Promise<string>
  /** charge.lua with more keys: the marks of earlier hours. The first argument is how many keys follow. */
  chargeEnded(count: number, ...args: string[]): Promise<string>
  /** refund.lua with as many keys as its lines need: the first argument is how many follow. */
  refundLines(count: number, ...args: string[]): Promise<string>
  expireSession(...args: string[]): Promise<string>
  expireBucket(...args: string[]): Promise<string>
  credit(...args: string[]): Promise<string>
  claimReference(...args: string[]): Promise<string>
  adjust(...args: string[]): Promise<string>
  sendTransfer(...args: string[]): Promise<string>
  endTransfer(...args: string[]): Promise<string>
  create(...args: string[]): Promise<string>
  // Not `subscribe`: that is ioredis's own.
  buyOffer(...args: string[]): Promise<string>
  // Not `status` or `setStatus`: those are ioredis's own, and one of the two would break.
  accountStatus(...args: string[]): Promise<string>
  accountExtras(...args: string[]): Promise<string>
  stepSubscription(...args: string[]): Promise<string>
  remindBucket(...args: string[]): Promise<string>
  dueTurn(...args: string[]): Promise<string>
  askSession(...args: string[]): Promise<string>
  voucherBatch(...args: string[]): Promise<string>
  voucherClaim(...args: string[]): Promise<string>
  voucherGuess(...args: string[]): Promise<string>
  note(...args: string[]): Promise<string>
  keepAnswer(...args: string[]): Promise<string>
  accountProfile(...args: string[]): Promise<string>
  settleIdentity(...args: string[]): Promise<string>
  moveClock(...args: string[]): Promise<string>
  life(...args: string[]): Promise<string>
  publishCatalog(...args: string[]): Promise<string>
  putDocument(...args: string[]): Promise<string>
  putPayment(...args: string[]): Promise<string>
  publishEvents(...args: string[]): Promise<string>
  trimFeed(...args: string[]): Promise<string>
  noteWatches(...args: string[]): Promise<string>
  noteWebhook(...args: string[]): Promise<string>
}

export type RedisWithScripts = Redis & ScriptCommands

export function defineScripts(redis: Redis, scripts: ReadonlyMap<string, Script>): RedisWithScripts {
  for (const { name, lua, keys } of scripts.values()) {
    redis.defineCommand(camelCase(name), { numberOfKeys: keys, lua })
  }
  redis.defineCommand('chargeEnded', { lua: scripts.get('charge')!.lua })
  redis.defineCommand('refundLines', { lua: scripts.get('refund')!.lua })
  return redis as RedisWithScripts
}

const camelCase = (name: string): string => name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
