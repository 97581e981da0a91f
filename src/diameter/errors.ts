/**
 * Result-Codes and the one error that a peer can cause: RFC 6733 section 7, RFC 8506 section 9, TS 29.219 section 5.5.
 */

/** Values of Result-Code (268); the names are the RFCs', without their prefix DIAMETER_. */
export const ResultCode = {
  MULTI_ROUND_AUTH: 1001,
  SUCCESS: 2001,
  LIMITED_SUCCESS: 2002,
  // Protocol errors, section 7.1.3: sent with the E bit and the grammar of answer-message.
  COMMAND_UNSUPPORTED: 3001,
  UNABLE_TO_DELIVER: 3002,
  REALM_NOT_SERVED: 3003,
  TOO_BUSY: 3004,
  LOOP_DETECTED: 3005,
  REDIRECT_INDICATION: 3006,
  APPLICATION_UNSUPPORTED: 3007,
  INVALID_HDR_BITS: 3008,
  INVALID_AVP_BITS: 3009,
  UNKNOWN_PEER: 3010,
  // Transient failures, section 7.1.4 and RFC 8506 section 9.1.
  AUTHENTICATION_REJECTED: 4001,
  OUT_OF_SPACE: 4002,
  ELECTION_LOST: 4003,
  END_USER_SERVICE_DENIED: 4010,
  CREDIT_CONTROL_NOT_APPLICABLE: 4011,
  CREDIT_LIMIT_REACHED: 4012,
  // Permanent failures, section 7.1.5 and RFC 8506 section 9.2.
  AVP_UNSUPPORTED: 5001,
  UNKNOWN_SESSION_ID: 5002,
  AUTHORIZATION_REJECTED: 5003,
  INVALID_AVP_VALUE: 5004,
  MISSING_AVP: 5005,
  RESOURCES_EXCEEDED: 5006,
  CONTRADICTING_AVPS: 5007,
  AVP_NOT_ALLOWED: 5008,
  AVP_OCCURS_TOO_MANY_TIMES: 5009,
  NO_COMMON_APPLICATION: 5010,
  UNSUPPORTED_VERSION: 5011,
  UNABLE_TO_COMPLY: 5012,
  INVALID_BIT_IN_HEADER: 5013,
  INVALID_AVP_LENGTH: 5014,
  INVALID_MESSAGE_LENGTH: 5015,
  INVALID_AVP_BIT_COMBO: 5016,
  NO_COMMON_SECURITY: 5017,
  USER_UNKNOWN: 5030,
  RATING_FAILED: 5031,
} as const

/** Values of Experimental-Result-Code (298) of vendor 10415; never in Result-Code. */
export const ExperimentalResultCode = {
  NO_AVAILABLE_POLICY_COUNTERS: 4241,
  UNKNOWN_POLICY_COUNTERS: 5570,
} as const

/** A peer sent something wrong, or asked for what cannot be done now. The one catch in `connection.ts` answers it. */
export class DiameterError extends Error {
  override readonly name = 'DiameterError'

  /**
   * @param message travels to the peer as Error-Message: it says what is wrong and names no subscriber
   * @param failedAvp the content of Failed-AVP: complete AVPs with their padding, mostly one
   */
  constructor(
    readonly resultCode: number,
    message: string,
    public failedAvp?: Buffer,
  ) {
    super(message)
  }
}
