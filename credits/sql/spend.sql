-- Spend credits in one round trip: lock the wallet, answer a repeated key, draw on the open grants in
-- order, write one transaction and its entries, update the wallet. The only implementation of a spend.
--
-- `outcome` is one of
--   spent      the new transaction
--   replayed   the same request came before: its transaction; `given_back` of it since
--   conflict   the key belongs to another request
--   no_wallet  the account has no wallet yet: open one and call again
--   or what credits_refusal or credits_limit_refusal answers; then nothing was written
-- A key belongs to its side (buyer, seller, internal): two sides may use the same one for two spends.
-- `crossed` says which limits this spend went below: {low}, {empty}, both or neither; and what
-- credits_count_use says of the limits of its actor.
--
-- Under READ COMMITTED every statement below sees what was committed before the lock was had,
-- so of two calls with one key the second finds the first one's transaction.
CREATE OR REPLACE FUNCTION credits_spend(
    p_account_id uuid,
    p_transaction_id uuid,
    p_amount bigint,
    p_key text,
    p_fingerprint bytea,
    p_feature text,
    p_quantity bigint,
    p_description text,
    p_metadata jsonb,
    p_actor text,
    p_now timestamptz,
    p_usage jsonb,
    p_side text,
    OUT outcome text,
    OUT transaction_id uuid,
    OUT amount bigint,
    OUT balance_after bigint,
    OUT created_at timestamptz,
    OUT lots jsonb,
    OUT crossed text[],
    OUT given_back bigint
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    wallet credits_wallet;
    prior record;
    drawn record;
BEGIN
    IF p_amount <= 0 THEN
        RAISE EXCEPTION 'a spend takes a positive amount, not %', p_amount USING ERRCODE = 'check_violation';
    END IF;

    SELECT * INTO wallet FROM credits_wallet w WHERE w.account_id = p_account_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_wallet';
        RETURN;
    END IF;

    SELECT t.id, t.amount, t.balance_after, t.created_at, t.fingerprint INTO prior FROM credits_transaction t
        WHERE t.account_id = p_account_id AND t.side = p_side AND t.idempotency_key = p_key;
    IF FOUND THEN
        IF prior.fingerprint IS DISTINCT FROM p_fingerprint THEN
            outcome := 'conflict';
            RETURN;
        END IF;
        outcome := 'replayed';
        transaction_id := prior.id;
        amount := prior.amount;
        balance_after := prior.balance_after;
        created_at := prior.created_at;
        lots := credits_lots(p_account_id, prior.id);
        given_back := credits_returned(p_account_id, prior.id);
        RETURN;
    END IF;

    balance_after := wallet.balance;
    outcome := credits_refusal(wallet, p_amount, p_now);
    IF outcome IS NULL AND wallet.has_spending_limits THEN
        outcome := credits_limit_refusal(p_account_id, ARRAY[p_actor], p_amount, p_now);
    END IF;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;

    outcome := 'spent';
    given_back := 0;
    transaction_id := p_transaction_id;
    amount := -p_amount;
    balance_after := wallet.balance - p_amount;
    created_at := p_now;
    INSERT INTO credits_transaction (id, account_id, kind, amount, balance_after, debt_change, side,
                                     idempotency_key, fingerprint, feature, quantity, description, metadata, actor, created_at, usage)
        VALUES (p_transaction_id, p_account_id, 'spend', -p_amount, balance_after, 0, p_side,
                p_key, p_fingerprint, p_feature, p_quantity, p_description, p_metadata, p_actor, p_now, p_usage);
    drawn := credits_draw(p_account_id, p_amount, p_transaction_id, NULL);
    lots := drawn.lots;
    UPDATE credits_wallet w
        SET balance = w.balance - p_amount,
            cap_used = CASE WHEN w.cap_day_ends_at > p_now THEN w.cap_used + drawn.paid ELSE w.cap_used END,
            touched_on = (p_now AT TIME ZONE 'UTC')::date
        WHERE w.account_id = p_account_id;
    crossed := credits_crossed(wallet, wallet.balance + wallet.held, wallet.balance + wallet.held - p_amount);
    IF wallet.has_spending_limits THEN
        crossed := crossed || credits_count_use(p_account_id, ARRAY[p_actor], p_amount, p_now, p_now);
    END IF;
END;
$$;
