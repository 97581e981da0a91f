#!/usr/bin/env escript
%% A Gy client made of Erlang/OTP's diameter application: connects to 127.0.0.1:PORT, opens a session for a subscriber,
%% reports twice and ends it, asks for a subscriber that nobody has, waits until its DWR was answered and it has answered
%% one, and says good-bye. Each answer, and what else happens, is one JSON line.
%%
%%     escript gy_client.escript DICTIONARY PORT MSISDN
-module(gy_client).
-mode(compile).

-export([tw/0]).
-export([peer_up/3, peer_down/3, pick_peer/4, prepare_request/3, prepare_retransmit/3, handle_answer/4,
         handle_error/4, handle_request/3]).

-define(SERVICE, gy_client).
-define(HOST, "erlang.example.net").
-define(REALM, "example.net").
-define(MEGABYTE, 1000000).

main([Dictionary, Port, Msisdn]) ->
    load(Dictionary),
    ok = diameter:start(),
    ok = diameter:start_service(?SERVICE, service()),
    true = diameter:subscribe(?SERVICE),
    {ok, _} = diameter:add_transport(?SERVICE, {connect, transport(list_to_integer(Port))}),
    case event(up) of
        {up, _, {_, Caps}, _, _} -> say(#{event => up, peer => element(2, element(2, Caps))});
        Other -> say(#{event => not_up, why => Other}), halt(1)
    end,
    session(list_to_binary(Msisdn)),
    refused(),
    watched(),
    ok = diameter:stop_service(?SERVICE),
    say(#{event => stopped}),
    halt(0).

%% The dictionary goes from its text into this virtual machine; nothing is written.
load(File) ->
    case code:which(diameter_make) of
        non_existing -> io:put_chars(standard_error, "no diameter application here: install erlang-diameter\n"), halt(3);
        _ -> ok
    end,
    {ok, [Forms]} = diameter_make:codec(File, [forms, return]),
    {ok, Module, Binary} = compile:forms(Forms, []),
    {module, Module} = code:load_binary(Module, "gy.dia", Binary).

service() ->
    [{'Origin-Host', ?HOST},
     {'Origin-Realm', ?REALM},
     {'Host-IP-Address', [{127, 0, 0, 1}]},
     {'Vendor-Id', 0},
     {'Product-Name', "erlang"},
     {'Auth-Application-Id', [4]},
     {string_decode, false},
     {decode_format, map},
     {application, [{alias, common}, {dictionary, diameter_gen_base_rfc6733}, {module, ?MODULE}]},
     {application, [{alias, gy}, {dictionary, gy}, {module, ?MODULE}, {answer_errors, callback}]}].

transport(Port) ->
    [{transport_module, diameter_tcp},
     {transport_config, [{ip, {127, 0, 0, 1}}, {raddr, {127, 0, 0, 1}}, {rport, Port}]},
     {connect_timer, 60000},
     {watchdog_timer, {?MODULE, tw, []}}].

%% Less than RFC 3539 allows: a test need not wait six seconds for a DWR.
tw() -> 200.

session(Msisdn) ->
    Id = diameter:session_id(?HOST),
    Subscriber = #{'Subscription-Id' => [#{'Subscription-Id-Type' => 0, 'Subscription-Id-Data' => Msisdn}]},
    ask(Id, 1, 0, Subscriber#{'Multiple-Services-Indicator' => [1],
                              'Multiple-Services-Credit-Control' => [mscc(10, asked(), []), mscc(30, asked(), [])]}),
    ask(Id, 2, 1, #{'Multiple-Services-Credit-Control' => [mscc(10, asked(), used(4 * ?MEGABYTE))]}),
    ask(Id, 2, 2, #{'Multiple-Services-Credit-Control' => [mscc(10, asked(), used(10 * ?MEGABYTE))]}),
    ask(Id, 3, 3, #{'Termination-Cause' => [1],
                    'Multiple-Services-Credit-Control' => [mscc(10, [], used(150000)), mscc(30, [], used(7))]}).

refused() ->
    ask(diameter:session_id(?HOST), 1, 0,
        #{'Subscription-Id' => [#{'Subscription-Id-Type' => 0, 'Subscription-Id-Data' => <<"15550000000">>}],
          'Multiple-Services-Credit-Control' => [mscc(10, asked(), [])]}).

mscc(RatingGroup, Requested, Used) ->
    #{'Rating-Group' => [RatingGroup], 'Requested-Service-Unit' => Requested, 'Used-Service-Unit' => Used}.

asked() -> [#{}].

used(Octets) -> [#{'CC-Total-Octets' => [Octets]}].

ask(Session, Type, Number, More) ->
    Ccr = More#{'Session-Id' => Session,
                'Auth-Application-Id' => 4,
                'Service-Context-Id' => <<"32251@3gpp.org">>,
                'CC-Request-Type' => Type,
                'CC-Request-Number' => Number},
    say(diameter:call(?SERVICE, gy, ['CCR' | Ccr], [])).

%% Until a DWR of ours was answered, and a DWR of theirs by us.
watched() ->
    Counted = lists:flatten([Counts || {_, Counts} <- diameter:service_info(?SERVICE, statistics)]),
    Answers = [N || Direction <- [recv, send],
                    {{{0, 280, 0}, Way, {'Result-Code', 2001}}, N} <- Counted, Way =:= Direction, N > 0],
    case length(Answers) of
        2 -> say(#{event => watched});
        _ -> timer:sleep(20), watched()
    end.

event(Name) ->
    receive
        {diameter_event, ?SERVICE, Info} when element(1, Info) =:= Name -> Info;
        {diameter_event, ?SERVICE, Info} when element(1, Info) =:= closed -> Info;
        {diameter_event, ?SERVICE, _} -> event(Name)
    after 20000 -> timeout
    end.

%% What the stack asks of an application.

peer_up(_, _, State) -> State.
peer_down(_, _, State) -> State.
pick_peer([Peer | _], _, _, _) -> {ok, Peer};
pick_peer([], _, _, _) -> false.

prepare_request({diameter_packet, _, _, ['CCR' | Ccr], _, _, _}, _, {_, Caps}) ->
    {_, TheirRealm} = element(3, Caps),
    {send, ['CCR' | Ccr#{'Origin-Host' => ?HOST, 'Origin-Realm' => ?REALM, 'Destination-Realm' => TheirRealm}]}.

prepare_retransmit(Packet, _, _) -> {send, Packet}.

%% `errors` is what the stack has against the answer.
handle_answer({diameter_packet, _, _, [Name | Answer], _, Errors, _}, _, _, _) ->
    Answer#{command => Name, errors => Errors}.

handle_error(Reason, _, _, _) -> #{event => error, why => Reason}.

handle_request(_, _, _) -> {answer_message, 3001}.

say(Term) -> io:format("~ts~n", [json(Term)]).

json(Map) when is_map(Map) ->
    Fields = [[json(to_binary(Key)), $:, json(Value)] || {Key, Value} <- maps:to_list(Map)],
    [${, lists:join($,, Fields), $}];
json(List) when is_list(List) -> [$[, lists:join($,, [json(Item) || Item <- List]), $]];
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(Text) when is_binary(Text) -> [$", Text, $"]; % no text of this client has a quote in it
json(Atom) when is_atom(Atom) -> json(to_binary(Atom));
json(Other) -> json(binary:replace(iolist_to_binary(io_lib:format("~0p", [Other])), <<"\"">>, <<"'">>, [global])).

to_binary(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
to_binary(Other) -> iolist_to_binary(io_lib:format("~p", [Other])).
