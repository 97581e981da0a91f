/**
 * The peer state machine, RFC 6733 section 5.6, as data. No I/O; connection.ts and dialler.ts perform the actions.
 *
 * The RFC has one machine for a peer and its up to two connections. Here each connection has one (`transitions`), and a
 * peer that we call has the rows that look at both connections (`dialTransitions`).
 */

/** Of one connection. I-Open is one that we initiated, R-Open one that we accepted. */
export type PeerStateName = 'Closed' | 'Wait-I-CEA' | 'Wait-Returns' | 'Wait-Probe' | 'I-Open' | 'R-Open' | 'Closing'

export type PeerEvent =
  | 'I-Rcv-Conn-Ack' // the transport that we initiated is there
  | 'I-Rcv-CEA' // one that passed every check of initiator.ts
  | 'I-Rcv-CEA-Bad' // one that did not
  | 'R-Conn-CER' // a CER that passed every check of capabilities.ts
  | 'R-Conn-CER-Bad' // a CER that did not
  | 'R-Conn-CER-Twice' // a good CER whose Origin-Host has an open connection, and we are to see whether that one lives
  | 'R-Conn-CER-Elect' // a good CER whose Origin-Host we are calling: one of the two connections will stay
  | 'Elected' // Wait-Returns: it stays, the one that we initiated does not
  | 'Rejected' // Wait-Returns: another one of this peer waits already
  | 'Rcv-CER' // a CER on a connection that is open
  | 'Rcv-DWR'
  | 'Rcv-DWA'
  | 'Rcv-DPR'
  | 'Rcv-Bad' // a DWR or DPR with something wrong in it: a Disconnect-Cause nobody knows, say
  | 'Rcv-DPA' // to our DPR; one that nobody asked for is dropped before
  | 'Rcv-Message'
  | 'Peer-Disc'
  | 'Probe-Answered' // Wait-Probe: the older connection lives
  | 'Probe-Failed' // Wait-Probe: the older connection is dead
  | 'Stop'
  | 'Timeout'

export type PeerAction =
  | 'send-CER'
  | 'process-CEA' // capabilities are exchanged
  | 'send-CEA'
  | 'send-CEA-and-close' // the refusal
  | 'send-CEA-again' // 5012 to a second CER; nothing changes
  | 'probe-other'
  | 'elect' // dialler.ts says which of the two stays
  | 'send-DWA'
  | 'note-DWA'
  | 'send-DPR'
  | 'send-DPA'
  | 'send-error'
  | 'process'
  | 'close' // what is written goes out, and what is in work is answered first
  | 'disconnect' // at once
  | 'ignore'

export type Row = readonly [next: PeerStateName, action: PeerAction]

type Rows = Readonly<Partial<Record<PeerEvent, Row>>>

/** I-Open and R-Open do the same. */
// prettier-ignore
const open = (self: 'I-Open' | 'R-Open'): Rows => ({
  //                                    next state    action
                  'Rcv-Message':        [self,        'process'],
                  'Rcv-DWR':            [self,        'send-DWA'],
                  'Rcv-DWA':            [self,        'note-DWA'],
                  'Rcv-CER':            [self,        'send-CEA-again'],
                  'Rcv-DPR':            ['Closing',   'send-DPA'],
                  'Rcv-Bad':            [self,        'send-error'],
                  'Stop':               ['Closing',   'send-DPR'],
                  'Timeout':            ['Closed',    'disconnect'], // the watchdog's
                  'Peer-Disc':          ['Closed',    'disconnect'],
})

// prettier-ignore
export const transitions: Readonly<Record<PeerStateName, Rows>> = {
  //                event                next state      action
  'Closed':       { 'I-Rcv-Conn-Ack':   ['Wait-I-CEA',   'send-CER'],
                    'R-Conn-CER':       ['R-Open',       'send-CEA'],
                    'R-Conn-CER-Bad':   ['Closing',      'send-CEA-and-close'],
                    'R-Conn-CER-Twice': ['Wait-Probe',   'probe-other'],
                    'R-Conn-CER-Elect': ['Wait-Returns', 'elect'],
                    'Stop':             ['Closed',       'disconnect'],
                    'Timeout':          ['Closed',       'disconnect'],
                    'Peer-Disc':        ['Closed',       'disconnect'] },
  'Wait-I-CEA':   { 'I-Rcv-CEA':        ['I-Open',       'process-CEA'],
                    'I-Rcv-CEA-Bad':    ['Closed',       'disconnect'],
                    'Stop':             ['Closed',       'disconnect'],
                    'Timeout':          ['Closed',       'disconnect'],
                    'Peer-Disc':        ['Closed',       'disconnect'] },
  'Wait-Returns': { 'Elected':          ['R-Open',       'send-CEA'],
                    'Rejected':         ['Closing',      'send-CEA-and-close'],
                    'Stop':             ['Closed',       'disconnect'],
                    'Timeout':          ['Closed',       'disconnect'],
                    'Peer-Disc':        ['Closed',       'disconnect'] },
  // Ours: RFC 6733 rejects the second connection of a peer at once; `duplicatePeer: replace` first asks whether the first one lives.
  'Wait-Probe':   { 'Probe-Answered':   ['Closing',      'send-CEA-and-close'],
                    'Probe-Failed':     ['R-Open',       'send-CEA'],
                    'Stop':             ['Closed',       'disconnect'],
                    'Timeout':          ['Closed',       'disconnect'],
                    'Peer-Disc':        ['Closed',       'disconnect'] },
  'I-Open':       open('I-Open'),
  'R-Open':       open('R-Open'),
  // Ours: a request that crossed our DPR on its way is answered, and so is a peer that probes while we drain.
  'Closing':      { 'Rcv-Message':      ['Closing',      'process'],
                    'Rcv-DWR':          ['Closing',      'send-DWA'],
                    'Rcv-DWA':          ['Closing',      'note-DWA'],
                    'Rcv-DPR':          ['Closing',      'send-DPA'], // both sides say good-bye at once
                    'Rcv-Bad':          ['Closing',      'send-error'],
                    'Rcv-DPA':          ['Closing',      'close'],
                    'Rcv-CER':          ['Closing',      'ignore'],
                    'Stop':             ['Closing',      'ignore'],
                    'Timeout':          ['Closing',      'close'],
                    'Peer-Disc':        ['Closed',       'disconnect'] },
}

/** What to do about an event. An event without a row (a message before the CER, say) ends the connection. */
export const step = (state: PeerStateName, event: PeerEvent): Row => transitions[state][event] ?? unexpected

const unexpected: Row = ['Closed', 'disconnect']

/** Of a peer that we call. */
export type DialState =
  | 'Closed' // no connection; Tc runs, unless the peer asked not to be called
  | 'Wait-Conn-Ack'
  | 'Wait-I-CEA'
  | 'Wait-Conn-Ack/Elect'
  | 'Wait-Returns'
  | 'I-Open'
  | 'R-Open'

export type DialEvent =
  | 'Start'
  | 'I-Rcv-Conn-Ack'
  | 'I-Rcv-Conn-Nack' // refused, unreachable, no answer in time
  | 'I-Rcv-CEA'
  | 'I-Peer-Disc' // the connection that we initiated is over, whoever ended it
  | 'R-Conn-CER' // the peer's own call came, with a good CER
  | 'R-Peer-Disc' // and is over
  | 'Win-Election' // our Origin-Host is the greater one

export type DialAction =
  | 'I-Snd-Conn-Req'
  | 'I-Snd-CER'
  | 'I-Snd-CER-and-elect'
  | 'elect'
  | 'I-Disc-and-R-Snd-CEA'
  | 'R-Snd-CEA'
  | 'R-Disc'
  | 'R-Reject'
  | 'set-Tc'
  | 'none'

export type DialRow = readonly [next: DialState, action: DialAction]

// prettier-ignore
export const dialTransitions: Readonly<Record<DialState, Readonly<Partial<Record<DialEvent, DialRow>>>>> = {
  //                       event               next state              action
  'Closed':              { 'Start':           ['Wait-Conn-Ack',       'I-Snd-Conn-Req'],
                           'R-Conn-CER':      ['R-Open',              'none'] }, // connection.ts has sent the CEA
  'Wait-Conn-Ack':       { 'I-Rcv-Conn-Ack':  ['Wait-I-CEA',          'I-Snd-CER'],
                           'I-Rcv-Conn-Nack': ['Closed',              'set-Tc'],
                           'R-Conn-CER':      ['Wait-Conn-Ack/Elect', 'none'] },
  'Wait-I-CEA':          { 'I-Rcv-CEA':       ['I-Open',              'none'],
                           'I-Peer-Disc':     ['Closed',              'set-Tc'],
                           'R-Conn-CER':      ['Wait-Returns',        'elect'] },
  'Wait-Conn-Ack/Elect': { 'I-Rcv-Conn-Ack':  ['Wait-Returns',        'I-Snd-CER-and-elect'],
                           'I-Rcv-Conn-Nack': ['R-Open',              'R-Snd-CEA'],
                           'R-Peer-Disc':     ['Wait-Conn-Ack',       'none'],
                           'R-Conn-CER':      ['Wait-Conn-Ack/Elect', 'R-Reject'] },
  'Wait-Returns':        { 'Win-Election':    ['R-Open',              'I-Disc-and-R-Snd-CEA'],
                           'I-Peer-Disc':     ['R-Open',              'R-Snd-CEA'],
                           'I-Rcv-CEA':       ['I-Open',              'R-Disc'],
                           'R-Peer-Disc':     ['Wait-I-CEA',          'none'],
                           'R-Conn-CER':      ['Wait-Returns',        'R-Reject'] },
  // A CER that comes while another connection is open does not come here: connection.ts treats it as it does any peer's.
  'I-Open':              { 'I-Peer-Disc':     ['Closed',              'set-Tc'] },
  'R-Open':              { 'R-Peer-Disc':     ['Closed',              'set-Tc'] },
}

/** Undefined: the event changes nothing; it is the echo of what we did ourselves. */
export const dialStep = (state: DialState, event: DialEvent): DialRow | undefined => dialTransitions[state][event]
