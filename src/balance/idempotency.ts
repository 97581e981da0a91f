/**
 * First answers to requests of the admin API that move money, by the key that the client chose. They make a repeat cheap and word for
 * word the same; that money moves once does not rest on them, but on the once-keys of the scripts.
 */
import { idempotencyKey } from './keys.js'
import type { Store } from './store.js'

/** `joined`: another try of the same request has begun and has not answered, or never will. */
export type ClaimOutcome =
  { readonly status: 'claimed' | 'joined' | 'reused' } | { readonly status: 'answered'; readonly answer: string }

/** Of one key of one principal; `fingerprint` says what was asked, `claimant` names one try of it. */
export interface Claim {
  readonly principal: string
  readonly key: string
  readonly fingerprint: string
  readonly claimant: string
}

/** Every call may be repeated. Throws BalanceUnavailableError when the store is not reachable. */
export interface KeptAnswers {
  claim(claim: Claim): Promise<ClaimOutcome>
  /** Keeps the answer, one text; gives the first one where there is one already. */
  keep(claim: Claim, answer: string): Promise<string>
  /** The request was refused: its key is free again, unless another try holds it. */
  release(claim: Claim): Promise<void>
}

export class RedisKeptAnswers implements KeptAnswers {
  constructor(
    private readonly store: Store,
    /** How long a key is remembered, ms, by the store's clock. */
    private readonly keepMs: number,
    private readonly patienceMs = 5000,
  ) {}

  async claim(claim: Claim): Promise<ClaimOutcome> {
    const reply = await this.send('claim', claim, '')
    if (reply.startsWith(answered)) return { status: 'answered', answer: reply.slice(answered.length) }
    return { status: reply as 'claimed' | 'joined' | 'reused' }
  }

  async keep(claim: Claim, answer: string): Promise<string> {
    const reply = await this.send('answer', claim, answer)
    return reply.startsWith(answered) ? reply.slice(answered.length) : answer
  }

  async release(claim: Claim): Promise<void> {
    await this.send('release', claim, '')
  }

  private send(step: 'claim' | 'answer' | 'release', claim: Claim, answer: string): Promise<string> {
    const { principal, key, fingerprint, claimant } = claim
    return this.store.call('keep-answer', this.store.deadlineIn(this.patienceMs), redis =>
      redis.keepAnswer(idempotencyKey(principal, key), step, fingerprint, claimant, answer, String(this.keepMs)),
    )
  }
}

const answered = 'answered '
