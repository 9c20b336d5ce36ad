package tidegate.clients;

/** What a user of stock clients does, and what they must see. Fails with {@link Check.Failure}. */
public interface Scenario {
    void run(Broker broker, Options options) throws Exception;
}
