package tidegate.reproducer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.io.IOException;

/**
 * What a completed rebalance told this member.
 *
 * @param generation of the group, -1 when there is none
 * @param memberId   that the broker gave to this member
 * @param leaderId   of the member that may write, as the assignment names it
 */
record Membership(int generation, String memberId, String leaderId) {
    static final Membership NONE = new Membership(-1, "", "");

    boolean leads() {
        return generation >= 0 && memberId.equals(leaderId);
    }

    /** How a member presents itself in JoinGroup. */
    static byte[] identity(String host, int port) {
        return Records.bytes(Records.object().put("host", host).put("port", port).put("master_eligibility", true)
                .put("scheme", "http").put("version", 1).put("leader", false));
    }

    /** What the group's leader sends to all in SyncGroup. */
    static byte[] assignment(String leaderId, byte[] leaderIdentity) {
        try {
            ObjectNode assignment = Records.object().put("error", 0).put("master", leaderId);
            assignment.set("master_identity", Records.tree(leaderIdentity));
            return Records.bytes(assignment.put("version", 1));
        } catch (IOException e) {
            throw new IllegalStateException("JoinGroup changed the metadata of member " + leaderId, e);
        }
    }

    static Membership of(int generation, String memberId, byte[] assignment) {
        try {
            JsonNode json = Records.tree(assignment);
            return new Membership(generation, memberId, json.path("master").asText());
        } catch (IOException e) {
            throw new IllegalStateException("SyncGroup changed the assignment of member " + memberId, e);
        }
    }
}
