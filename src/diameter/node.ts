/**
 * What all connections of this Diameter node share: who we are, whom we know, what we serve, and the messages that never change.
 */
import type { Logger } from 'pino'
import type { Clock } from '../clock.js'
import type { DiameterConfig } from '../config/config.js'
import type { Admission } from './admission.js'
import type { Application } from './application.js'
import type { CerShape, OwnCapabilities } from './capabilities.js'
import type { Dictionary } from './dictionary.js'
import type { Received } from './incoming.js'
import type { Shape } from './message.js'
import type { DiameterMetrics } from './metrics.js'
import type { EndToEndIds } from './own-requests.js'
import type { PeerBook } from './peer-book.js'
import type { PeerTable } from './peer-table.js'
import type { OwnIdentity } from './routing.js'
import type { Tap } from './tap.js'

export interface Node {
  readonly config: DiameterConfig
  readonly dictionary: Dictionary
  readonly applications: ReadonlyMap<number, Application>
  readonly applicationIds: ReadonlySet<number>
  readonly own: OwnCapabilities
  readonly identity: OwnIdentity
  readonly peers: PeerTable
  readonly book: PeerBook
  readonly tap: Tap | undefined
  readonly shapes: BaseShapes
  readonly bodies: BaseBodies
  readonly endToEnd: EndToEndIds
  /** Which requests are worked on, wait, or are shed. */
  readonly admission: Admission<Received>
  readonly log: Logger
  readonly metrics: DiameterMetrics
  readonly clock: Clock
  /** Gives 0 ≤ n < 1: jitter and the start of identifiers. */
  readonly random: () => number
}

export class Dwr {
  originHost = ''
}

export class Dpr {
  disconnectCause = 0
}

/** Shapes of the base protocol's own requests. */
export interface BaseShapes {
  readonly cer: CerShape
  readonly cea: CerShape
  readonly dwr: Shape<Dwr>
  readonly dpr: Shape<Dpr>
}

/** AVPs of the messages that are always the same. */
export interface BaseBodies {
  readonly dwr: Buffer
  readonly dwa: Buffer
  readonly dpr: Buffer
  readonly dpa: Buffer
}

/** Command codes of the base protocol's own requests. */
export const command = { capabilities: 257, watchdog: 280, disconnect: 282 } as const
