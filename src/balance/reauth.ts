/**
 * What open sessions must be asked again for (RFC 8506 section 5.5), as the store keeps it: members `reauth <account>`,
 * `reauth-all <account>` and `abort <account>` of the due lists, which the scripts that change an account leave there, and what
 * came of it in each session. lua/due-turn.lua and lua/ask-session.lua see to it that one daemon does each thing.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { readSession, sessionOfDue } from './accounts.js'
import { dueKey, partitionOf, sessionIndexKey, sessionKey } from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'
import type { CommandName, Session } from './types.js'

/** `reauth`: lines that were refused or got their last units. `reauth-all`: all lines. `abort`: the sessions are to end. */
export const askWords = ['reauth', 'reauth-all', 'abort'] as const
export type AskWord = (typeof askWords)[number]

export interface Claim {
  readonly session: Pick<Session, 'id' | 'account'>
  readonly command: CommandName
  /** Of this attempt, without spaces. */
  readonly token: string
  /** Asks at once, however short ago the last time was. */
  readonly atOnce: boolean
}

/** `busy`: another attempt is under way, or was just made; look again at `until`. `gone`: the session has ended. */
export type ClaimOutcome = { readonly status: 'claimed' | 'gone' } | { readonly status: 'busy'; readonly until: Millis }

const membersOfOneScan = 1000
const hashesOfOnePipeline = 200
const partitionsOfOnePipeline = 64

export interface NeedsOptions {
  /** A connection of its own for work in the background. */
  readonly store: Store
  readonly partitions: number
  /** Business time, and real time for the store's patience. */
  readonly clock: Clock
  /** An attempt without result is one of a daemon that died after so long, ms. */
  readonly lostMs: number
  /** Between two attempts of one command at a session: at least, and while the gateway has not reacted, ms. */
  readonly apartMs: readonly [least: number, unanswered: number]
  readonly patienceMs?: number
}

export class Needs {
  constructor(private readonly options: NeedsOptions) {}

  /** Takes a member that is due, until `token` (ms; its fraction is this daemon's), when another may. */
  async take(member: string, token: number): Promise<'taken' | 'early' | 'gone'> {
    return (await this.turn(member, 'take', token, '')) as 'taken' | 'early' | 'gone'
  }

  /**
   * Sets when a member that was taken is looked at again; undefined: all of it is done.
   *
   * @returns again: a new cause came meanwhile, and it is due now
   */
  async put(member: string, token: number, next: number | undefined): Promise<'done' | 'again'> {
    return (await this.turn(member, 'put', token, next === undefined ? '' : String(next))) as 'done' | 'again'
  }

  /** The open sessions of an account: each has its entry in the partition's due list. */
  async sessionsOf(account: string): Promise<Session[]> {
    const partition = partitionOf(account, this.options.partitions)
    const pattern = `session ${account} *` // nothing in an account's id is special in a pattern
    const ids = new Set<string>()
    let cursor = '0'
    do {
      const [next, found] = await this.call('due', redis =>
        redis.zscan(dueKey(partition), cursor, 'MATCH', pattern, 'COUNT', membersOfOneScan),
      )
      found.forEach((member, i) => {
        const id = i % 2 === 0 ? sessionOfDue(member) : undefined
        if (id !== undefined) ids.add(id)
      })
      cursor = next
    } while (cursor !== '0')
    const sessions: Session[] = []
    for (const some of pieces([...ids], hashesOfOnePipeline)) {
      const hashes = (await this.call('session', redis =>
        inPipeline(redis, pipeline => some.forEach(id => pipeline.hgetall(sessionKey(partition, id)))),
      )) as Record<string, string>[]
      hashes.forEach((all, i) => {
        const session = readSession(some[i]!, all)
        if (session?.open && session.account === account) sessions.push(session)
      })
    }
    return sessions
  }

  /** A session by its id; undefined when the store has none, or nobody knows whose it is. */
  async session(id: string): Promise<Session | undefined> {
    const owner = await this.call('session-index', redis => redis.get(sessionIndexKey(id)))
    const account = owner === null ? await this.accountOf(id) : owner.slice(0, owner.indexOf(' '))
    if (account === undefined) return undefined
    const key = sessionKey(partitionOf(account, this.options.partitions), id)
    return readSession(id, await this.call('session', redis => redis.hgetall(key)))
  }

  /** Asks for a session; one attempt at a time, by whichever daemon. */
  async claim({ session, command, token, atOnce }: Claim): Promise<ClaimOutcome> {
    const { lostMs, apartMs } = this.options
    const reply = await this.askSession(session, 'claim', command, token, lostMs, atOnce ? [0, 0] : apartMs, '')
    const [status, until] = reply.split(' ')
    if (status === 'busy') return { status, until: Number(until) }
    return { status: status as 'claimed' | 'gone' }
  }

  /**
   * What came of an attempt: a Result-Code, `timeout` or `undeliverable`.
   *
   * @returns the result that is kept (`ccr`: no answer, but a newer request) and how often in a row it was tried;
   *   undefined when the session has ended, or the attempt is another's by now
   */
  async note(
    { session, command, token }: Pick<Claim, 'session' | 'command' | 'token'>,
    result: string,
  ): Promise<{ readonly result: string; readonly tries: number } | undefined> {
    const reply = await this.askSession(session, 'note', command, token, 0, [0, 0], result)
    const [status, kept, tries] = reply.split(' ')
    return status === 'noted' ? { result: kept!, tries: Number(tries) } : undefined
  }

  /**
   * Every account with open sessions is to be asked: the first at `from`, then one each `apart` ms.
   *
   * @returns how many
   */
  async askAll(word: AskWord, from: Millis, apart: number): Promise<number> {
    const { partitions } = this.options
    let asked = 0
    const all = Array.from({ length: partitions }, (_, partition) => partition)
    for (const some of pieces(all, partitionsOfOnePipeline)) {
      const lists = (await this.call('due', redis =>
        inPipeline(redis, pipeline => some.forEach(p => pipeline.zrange(dueKey(p), '0', '-1'))),
      )) as string[][]
      for (const [i, list] of lists.entries()) {
        const accounts = new Set(list.filter(member => sessionOfDue(member) !== undefined).map(accountOfDue))
        await this.call('due', redis =>
          inPipeline(redis, pipeline => {
            // LT: what is due earlier stays so.
            for (const account of accounts)
              pipeline.zadd(dueKey(some[i]!), 'LT', from + apart * asked++, `${word} ${account}`)
          }),
        )
      }
    }
    return asked
  }

  /** All open sessions of an account are to be asked now. */
  async askAccount(word: AskWord, account: string, now: Millis): Promise<void> {
    const key = dueKey(partitionOf(account, this.options.partitions))
    await this.call('due', redis => redis.zadd(key, now, `${word} ${account}`))
  }

  private turn(member: string, step: 'take' | 'put', token: number, next: string): Promise<string> {
    const key = dueKey(partitionOf(accountOfDue(member), this.options.partitions))
    const now = String(this.options.clock.now())
    return this.call('due-turn', redis => redis.dueTurn(key, member, step, now, String(token), next))
  }

  private askSession(
    { id, account }: Claim['session'],
    step: 'claim' | 'note',
    command: CommandName,
    token: string,
    lostMs: number,
    apart: readonly [number, number],
    result: string,
  ): Promise<string> {
    const key = sessionKey(partitionOf(account, this.options.partitions), id)
    const now = String(this.options.clock.now())
    return this.call('ask-session', redis =>
      redis.askSession(key, step, command, token, now, String(lostMs), apart.join(','), result),
    )
  }

  /** Sessions of peers whose every request names the subscriber have no index entry: the due lists know them. */
  private async accountOf(session: string): Promise<string | undefined> {
    const all = Array.from({ length: this.options.partitions }, (_, partition) => partition)
    for (const some of pieces(all, partitionsOfOnePipeline)) {
      const lists = (await this.call('due', redis =>
        inPipeline(redis, pipeline => some.forEach(p => pipeline.zrange(dueKey(p), '0', '-1'))),
      )) as string[][]
      for (const member of lists.flat()) if (sessionOfDue(member) === session) return accountOfDue(member)
    }
    return undefined
  }

  private call<T>(name: string, send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    const { store, patienceMs = 5000 } = this.options
    return store.call(name, store.deadlineIn(patienceMs), send)
  }
}

/** `reauth <account>`, `session <account> <session id>`: the second word. */
export const accountOfDue = (member: string): string => member.split(' ', 2)[1]!

/** Undefined: the member is something else. */
export function askWordOf(member: string): AskWord | undefined {
  const word = member.slice(0, member.indexOf(' '))
  return askWords.find(each => each === word)
}
