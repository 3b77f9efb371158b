# The default policy: everything that the gateway and the tools ask about is allowed.
#
# A caller asks POST /v1/data/soma/policy/allow with
#
#   {"input": {"tenant": "t1", "persona_id": "p1", "action": "tool.run", "resource": "http_fetch",
#              "context": {...}, "scopes": ["chat"]}}
#
# and takes only the answer {"result": true} for a yes. No answer, an answer of another shape or an unreachable OPA means
# no (503 with Retry-After where a request waits for it): the system fails closed, and this file decides what "open" is.
# Without OPA_URL the same rules are evaluated in the process that asks, and read at its start.
#
# What is asked for: "conversation.respond" (resource: the model profile that the message names, else "conversation") and "tool.run" (resource: the
# tool; context: {"effect": "read", "args": {...}}). Every question needs an answer: keep a default.
#
# To begin a stricter policy, turn the default round and name what is allowed:
#
#   default allow := false
#
#   allow if {
#       input.action == "conversation.respond"
#   }
#
#   allow if {
#       input.action == "tool.run"
#       input.resource in {"http_fetch", "document_ingest"}
#       not denied
#   }
#
#   denied if input.tenant in data.soma.blocked_tenants
package soma.policy

default allow := true
