-- How long the reply to a request is remembered in `toril:last:<nonce>`, in ms: text, for a number would
-- be written out and read again at every call.
local REMEMBER_REQUEST_MS = '300000'
