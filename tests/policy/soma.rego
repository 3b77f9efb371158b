# The policy of the stack that the tests share: everything is allowed, but nothing to one tenant, so that a no can be seen.
package soma.policy

default allow := true

allow := false if {
    input.tenant == "t-forbidden"
}
